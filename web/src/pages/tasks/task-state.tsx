import { Tooltip } from 'antd'
import type { ReactNode } from 'react'
import type { TaskRecord, TaskState } from '../../../../src/api/tasks.ts'
import { useTexts } from '../../language/language.ts'
import type { Tone } from '../../shell/source-states.ts'
import { ToneShape } from '../../shell/state-mark.tsx'

const tones: Readonly<Record<TaskState, Tone>> = {
  waiting: 'idle',
  running: 'working',
  done: 'good',
  failed: 'bad',
  cancelled: 'idle',
  interrupted: 'late',
}

export function TaskStateMark({ state }: { readonly state: TaskState }): ReactNode {
  const t = useTexts()
  return (
    <Tooltip title={t.tasks.sentences[state]}>
      <span className={`state-mark tone-${tones[state]}`}>
        <ToneShape tone={tones[state]} />
        {t.tasks.states[state]}
      </span>
    </Tooltip>
  )
}

/** How much of it is done; undefined where nobody knows yet. */
export function shareOf({ progress }: TaskRecord): number | undefined {
  if (progress === undefined) return undefined
  const { bytes, bytesTotal, files, filesTotal } = progress
  if (bytesTotal > 0) return Math.min(1, bytes / bytesTotal)
  return filesTotal > 0 ? Math.min(1, files / filesTotal) : undefined
}

/** What it is about: a source, all of a system, or a server. */
export const subjectOf = ({ body, source, agent }: TaskRecord): string =>
  source ?? ('system' in body ? body.system : undefined) ?? agent ?? ''
