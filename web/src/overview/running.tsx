import { useQueries } from '@tanstack/react-query'
import { Progress } from 'antd'
import type { ReactNode } from 'react'
import type { TaskRecord } from '../../../src/api/tasks.ts'
import { get, vaultPath, withQuery } from '../api/client.ts'
import { useFormats } from '../formats/formats.ts'
import { useTexts } from '../language/language.ts'
import { useLive } from '../live/live.tsx'

const askAgainMs = 15_000
const shownMax = 6

/** Long work that is being done now, at any vault, and first copies that are being taken. */
export function Running(): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  const { vaults } = useLive()
  const allTasks = useRunningTasks()
  const allCopies = [...vaults.values()].flatMap(({ entry, sources }) =>
    entry.connected ? [...sources.values()].filter(({ progress }) => progress !== undefined) : [],
  )
  const tasks = allTasks.slice(0, shownMax)
  const copies = allCopies.slice(0, shownMax - tasks.length)
  const left = allTasks.length + allCopies.length - tasks.length - copies.length
  if (tasks.length + copies.length === 0) return <p className="panel-body quiet">{t.overview.nothingRuns}</p>
  return (
    <ul className="running">
      {tasks.map((task) => (
        <li key={task.id}>
          <span>
            <strong>{t.overview.taskKinds[task.kind]}</strong> {task.source ?? task.agent}
            <span className="quiet"> {t.overview.by(task.by)}</span>
          </span>
          <Amount
            {...(task.progress ?? { bytes: 0, bytesTotal: 0, secondsLeft: null })}
            label={t.overview.taskKinds[task.kind]}
          />
        </li>
      ))}
      {copies.map((source) => (
        <li key={source.id}>
          <span>
            <strong>{t.states.words[source.state]}</strong> {source.name}
            <span className="quiet"> {source.agent.name}</span>
          </span>
          {source.progress === undefined ? null : <Amount {...source.progress} label={source.name} />}
        </li>
      ))}
      {left === 0 ? null : <li className="quiet">{t.overview.more(formats.count(left))}</li>}
    </ul>
  )
}

function Amount({
  bytes,
  bytesTotal,
  secondsLeft,
  label,
}: {
  bytes: number
  bytesTotal: number
  secondsLeft: number | null
  label: string
}): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  return (
    <>
      <Progress
        percent={bytesTotal === 0 ? 0 : Math.min(100, (100 * bytes) / bytesTotal)}
        size={{ height: 5 }}
        showInfo={false}
        aria-label={label}
      />
      <span className="quiet">
        {t.overview.amount(formats.bytes(bytes), formats.bytes(bytesTotal))}
        {secondsLeft === null ? null : ` · ${t.overview.left(formats.duration(secondsLeft * 1000))}`}
      </span>
    </>
  )
}

function useRunningTasks(): readonly TaskRecord[] {
  const entries = [...useLive().vaults.values()].map(({ entry }) => entry).filter(({ connected }) => connected)
  return useQueries({
    queries: entries.map(({ id }) => ({
      queryKey: ['tasks', id, 'running'],
      queryFn: ({ signal }: { signal: AbortSignal }) =>
        get<TaskRecord[]>(vaultPath(id, withQuery('/tasks', { state: 'running', limit: 20 })), signal),
      refetchInterval: askAgainMs,
    })),
    combine: (answers) => answers.flatMap(({ data }) => data ?? []).filter(({ state }) => state === 'running'),
  })
}
