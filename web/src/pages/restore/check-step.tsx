import { Button, Spin } from 'antd'
import { useQuery } from '@tanstack/react-query'
import { type ReactNode, useState } from 'react'
import { useNavigate } from 'react-router'
import { beginTask, isOpen } from '../../api/tasks.ts'
import { get, vaultPath } from '../../api/client.ts'
import { useAgents } from '../../api/vaults.ts'
import { useTexts } from '../../language/language.ts'
import type { PlacedSource } from '../../live/systems.ts'
import { Failed, FailureLine } from '../../shell/states.tsx'
import type { TaskRecord } from '../../../../src/api/tasks.ts'
import { taskLink } from '../links.ts'
import { usePointText } from './moment-step.tsx'
import { type Order, ordersOf, type Plan } from './plan.ts'
import { PreflightRows } from './preflight-rows.tsx'

const lookMs = 500
/** An agent answers within seconds; one that is gone is told by the vault. */
const looksMax = 240

/** The answers before anything is done, what will be done, and the button for it. */
export function CheckStep({
  sources,
  plan,
}: {
  readonly sources: readonly PlacedSource[]
  readonly plan: Plan
}): ReactNode {
  const t = useTexts()
  const navigate = useNavigate()
  const tell = usePointText()
  const agents = useAgents().rows
  const [failure, setFailure] = useState<Error | null>(null)
  const [isBusy, setBusy] = useState(false)
  const check = useQuery({
    queryKey: ['preflight', plan],
    queryFn: ({ signal }) => checkAll(ordersOf(plan, sources, 'preflight'), signal),
    gcTime: 0,
    staleTime: Infinity,
    retry: false,
  })
  const restore = async (): Promise<void> => {
    setBusy(true)
    try {
      const begun: { vault: string; task: TaskRecord }[] = []
      for (const { vault, body } of ordersOf(plan, sources, 'restore'))
        begun.push({ vault, task: await beginTask(vault, body) })
      const [first] = begun
      if (first !== undefined) void navigate(taskLink(first.vault, first.task.id))
    } catch (error) {
      setFailure(error as Error)
      setBusy(false)
    }
  }
  const names = sources.map(({ source }) => source.name).join(', ')
  const what = plan.paths.length === 0 ? names : `${names} (${plan.paths.join(', ')})`
  const own = sources[0]?.source.agent.name ?? ''
  const server = plan.isInPlace ? own : (agents.find(({ agent }) => agent.id === plan.agent)?.agent.name ?? '')
  const moment = tell(plan.at)
  const isRefused = check.data?.rows.some(({ verdict }) => verdict === 'refused') ?? false
  return (
    <>
      {check.isFetching ? (
        <p className="restore-checking" role="status">
          <Spin size="small" /> {t.restore.checking}
        </p>
      ) : check.error !== null ? (
        <Failed failure={check.error} again={() => void check.refetch()} />
      ) : (
        <>
          <PreflightRows rows={check.data?.rows ?? []} />
          {check.data?.errors.map((error) => (
            <FailureLine key={error.message} failure={error} />
          ))}
          <Button size="small" onClick={() => void check.refetch()}>
            {t.restore.checkAgain}
          </Button>
        </>
      )}
      <div className={plan.isInPlace ? 'restore-summary is-grave' : 'restore-summary'}>
        <h3>{t.restore.summary}</h3>
        <p>
          {plan.isInPlace
            ? t.restore.summaryInPlace(what, moment, server)
            : t.restore.summaryElsewhere(what, moment, server, plan.to)}
        </p>
        {new Set(sources.map(({ vault }) => vault.id)).size > 1 ? <p>{t.restore.severalVaults}</p> : null}
        {isRefused ? <p className="tone-bad">{t.restore.refused}</p> : null}
        <FailureLine failure={failure} />
        <Button
          type="primary"
          size="large"
          danger={plan.isInPlace}
          loading={isBusy}
          disabled={check.isFetching || isRefused || check.data === undefined || check.data.errors.length > 0}
          onClick={() => void restore()}
        >
          {plan.isInPlace ? t.restore.goInPlace(names) : t.restore.go(server)}
        </Button>
      </div>
    </>
  )
}

interface Checked {
  readonly rows: NonNullable<NonNullable<TaskRecord['result']>['preflight']>
  readonly errors: readonly Error[]
}

async function checkAll(orders: readonly Order[], signal: AbortSignal): Promise<Checked> {
  const ended = await Promise.all(orders.map(({ vault, body }) => endedTask(vault, body, signal)))
  return {
    rows: ended.flatMap(({ result }) => result?.preflight ?? []),
    errors: ended.flatMap(({ error }) =>
      error === undefined ? [] : [new Error(`${error.message}. ${error.hint ?? ''}`)],
    ),
  }
}

async function endedTask(vault: string, body: Order['body'], signal: AbortSignal): Promise<TaskRecord> {
  let task = await beginTask(vault, body)
  for (let looks = 0; looks < looksMax && isOpen(task); looks++) {
    await new Promise((resolve) => {
      window.setTimeout(resolve, lookMs)
    })
    task = await get<TaskRecord>(vaultPath(vault, `/tasks/${task.id}`), signal)
  }
  return task
}
