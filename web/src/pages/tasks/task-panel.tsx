import { App, Button, Progress } from 'antd'
import { type ReactNode, useState } from 'react'
import { useQueryClient } from '@tanstack/react-query'
import type { Action } from '../../../../src/api/console.ts'
import type { TaskRecord } from '../../../../src/api/tasks.ts'
import { ApiFailure } from '../../api/client.ts'
import { useMay } from '../../api/session.ts'
import { cancelTask, isOpen, resumeTask, useTask } from '../../api/tasks.ts'
import { useFormats } from '../../formats/formats.ts'
import { useTexts } from '../../language/language.ts'
import { Empty, Failed, FailureLine, Loading } from '../../shell/states.tsx'
import { TaskReport } from './task-report.tsx'
import { shareOf, subjectOf, TaskStateMark } from './task-state.tsx'

/** As the console asks for them (src/console/vault-routes.ts). */
const actions: Readonly<Record<TaskRecord['kind'], Action>> = {
  restore: 'restore',
  preflight: 'restore',
  verify: 'verify',
  discover: 'protect',
  baseline: 'protect',
}

/** One task: how far it is, what came of it, and what it told meanwhile. */
export function TaskPanel({
  vault,
  id,
}: {
  readonly vault: string | undefined
  readonly id: string | undefined
}): ReactNode {
  const t = useTexts()
  const { data, error, refetch } = useTask(vault, id)
  if (vault === undefined || id === undefined)
    return (
      <section className="panel">
        <Empty title={t.tasks.choose} hint={t.tasks.chooseHint} />
      </section>
    )
  if (error instanceof ApiFailure && error.status === 404)
    return (
      <section className="panel">
        <Empty title={t.tasks.gone} hint={t.tasks.goneHint} />
      </section>
    )
  return (
    <section className="panel task-panel" aria-label={data === undefined ? t.tasks.what : t.tasks.kinds[data.kind]}>
      {error !== null ? (
        <Failed failure={error} again={() => void refetch()} />
      ) : data === undefined ? (
        <Loading rows={8} />
      ) : (
        <Task key={data.id} vault={vault} task={data} />
      )}
    </section>
  )
}

function Task({ vault, task }: { readonly vault: string; readonly task: TaskRecord }): ReactNode {
  const t = useTexts()
  return (
    <>
      <header>
        <h2>
          {t.tasks.kinds[task.kind]} <span className="quiet">{subjectOf(task)}</span>
        </h2>
        <TaskStateMark state={task.state} />
        <Deeds vault={vault} task={task} />
      </header>
      <div className="panel-body">
        <p className="quiet">{t.tasks.sentences[task.state]}</p>
        {isOpen(task) ? <Going task={task} /> : null}
        <TaskReport task={task} />
        <h3>{t.tasks.log}</h3>
        {task.log.length === 0 ? <p className="quiet">{t.tasks.noLog}</p> : <Log lines={task.log} />}
      </div>
    </>
  )
}

/** As it was told, to be read and copied. */
function Log({ lines }: { readonly lines: TaskRecord['log'] }): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  const text = lines.map(({ at, line }) => `${formats.time(at)} ${line}`).join('\n')
  return (
    <textarea
      className="task-log"
      readOnly
      rows={Math.min(14, lines.length + 1)}
      value={text}
      aria-label={t.tasks.log}
    />
  )
}

function Going({ task }: { readonly task: TaskRecord }): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  const { progress } = task
  const share = shareOf(task)
  if (progress === undefined || share === undefined) return null
  const { bytes, bytesTotal, files, filesTotal, secondsLeft, phase } = progress
  return (
    <div className="task-going">
      <Progress percent={Math.floor(share * 1000) / 10} aria-label={t.tasks.progress} />
      <span>
        {[
          phase,
          bytesTotal > 0 ? t.tasks.amount(formats.bytes(bytes), formats.bytes(bytesTotal)) : undefined,
          filesTotal > 0 ? t.tasks.files(formats.count(files), formats.count(filesTotal)) : undefined,
          secondsLeft === null ? undefined : t.tasks.left(formats.duration(secondsLeft * 1000)),
        ]
          .filter((one) => one !== undefined)
          .join(' · ')}
      </span>
    </div>
  )
}

function Deeds({ vault, task }: { readonly vault: string; readonly task: TaskRecord }): ReactNode {
  const t = useTexts()
  const may = useMay()
  const { modal } = App.useApp()
  const queries = useQueryClient()
  const [failure, setFailure] = useState<Error | null>(null)
  if (!may(actions[task.kind])) return null
  const perform = async (deed: () => Promise<unknown>): Promise<void> => {
    try {
      await deed()
      setFailure(null)
      await queries.invalidateQueries({ queryKey: ['tasks', vault] })
    } catch (error) {
      setFailure(error as Error)
    }
  }
  const askToCancel = (): void =>
    void modal.confirm({
      title: t.tasks.cancelTitle,
      content: t.tasks.cancelWhat,
      okText: t.tasks.cancel,
      cancelText: t.tasks.keep,
      okButtonProps: { danger: true },
      onOk: () => perform(() => cancelTask(vault, task.id)),
    })
  return (
    <>
      <FailureLine failure={failure} />
      {isOpen(task) ? (
        <Button size="small" onClick={askToCancel}>
          {t.tasks.cancel}
        </Button>
      ) : null}
      {task.state === 'interrupted' ? (
        <Button size="small" type="primary" onClick={() => void perform(() => resumeTask(vault, task.id))}>
          {t.tasks.resume}
        </Button>
      ) : null}
    </>
  )
}
