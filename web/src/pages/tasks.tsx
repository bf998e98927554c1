import { Progress, Segmented, Table } from 'antd'
import { type ReactNode, useState } from 'react'
import { useSearchParams } from 'react-router'
import { isOpen, type PlacedTask, useTasks } from '../api/tasks.ts'
import { useFormats } from '../formats/formats.ts'
import { useTexts } from '../language/language.ts'
import { useLive, useNow } from '../live/live.tsx'
import { Empty, Failed, Loading } from '../shell/states.tsx'
import { TaskPanel } from './tasks/task-panel.tsx'
import { shareOf, subjectOf, TaskStateMark } from './tasks/task-state.tsx'
import './tasks/tasks.css'

type Shown = 'all' | 'open' | 'ended'

/** Everything that takes long, of every vault: running or ended. */
export function Component(): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  const { connection } = useLive()
  const { rows, isLoading, failure, again } = useTasks()
  const now = useNow()
  const [shown, setShown] = useState<Shown>('all')
  const [parameters, setParameters] = useSearchParams()
  const vault = parameters.get('vault') ?? undefined
  const id = parameters.get('task') ?? undefined
  if (failure !== null && rows.length === 0) return <Failed failure={failure} again={again} />
  if (connection.kind === 'connecting' || isLoading) return <Loading rows={8} />
  if (rows.length === 0 && id === undefined) return <Empty title={t.tasks.none} hint={t.tasks.noneHint} />
  const wanted = rows.filter(({ task }) => shown === 'all' || isOpen(task) === (shown === 'open'))
  return (
    <div className="tasks">
      <section className="panel" aria-label={t.shell.tasks}>
        <header>
          <Segmented<Shown>
            value={shown}
            onChange={setShown}
            options={[
              { value: 'all', label: t.tasks.all },
              { value: 'open', label: t.tasks.open },
              { value: 'ended', label: t.tasks.ended },
            ]}
          />
        </header>
        <Table<PlacedTask>
          size="small"
          rowKey={({ vault: of, task }) => `${of.id} ${task.id}`}
          pagination={{ pageSize: 50, hideOnSinglePage: true, showSizeChanger: false }}
          dataSource={wanted}
          rowClassName={({ task }) => (task.id === id ? 'row-link task-selected' : 'row-link')}
          onRow={({ vault: of, task }) => ({ onClick: () => setParameters({ vault: of.id, task: task.id }) })}
          columns={[
            {
              title: t.tasks.what,
              render: (_, { vault: of, task }) => (
                <button
                  type="button"
                  className="task-name"
                  onClick={(event) => {
                    event.stopPropagation()
                    setParameters({ vault: of.id, task: task.id })
                  }}
                >
                  <strong>{t.tasks.kinds[task.kind]}</strong>{' '}
                  <span className="quiet task-subject">{subjectOf(task)}</span>
                </button>
              ),
            },
            {
              title: t.tasks.state,
              className: 'whole',
              render: (_, { task }) => {
                const share = shareOf(task)
                return (
                  <>
                    <TaskStateMark state={task.state} />
                    {isOpen(task) && share !== undefined ? (
                      <Progress
                        percent={share * 100}
                        showInfo={false}
                        size={{ height: 5 }}
                        aria-label={t.tasks.progress}
                      />
                    ) : null}
                  </>
                )
              },
            },
            { title: t.tasks.by, className: 'whole', render: (_, { task }) => task.by },
            {
              title: t.tasks.created,
              className: 'whole',
              render: (_, { task }) => formats.shortly(task.created, now),
            },
            {
              title: t.tasks.took,
              className: 'whole',
              align: 'right',
              render: (_, { task: { began, ended } }) =>
                began === null ? '–' : formats.duration((ended === null ? now : Date.parse(ended)) - Date.parse(began)),
            },
          ]}
        />
      </section>
      <TaskPanel vault={vault} id={id} />
    </div>
  )
}
