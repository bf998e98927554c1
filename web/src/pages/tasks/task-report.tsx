import type { ReactNode } from 'react'
import type { TaskRecord } from '../../../../src/api/tasks.ts'
import { useFormats } from '../../formats/formats.ts'
import { useTexts } from '../../language/language.ts'
import { ToneShape } from '../../shell/state-mark.tsx'
import { PreflightRows } from '../restore/preflight-rows.tsx'

/** What was asked for and what came of it. */
export function TaskReport({ task }: { readonly task: TaskRecord }): ReactNode {
  const t = useTexts()
  const { error, result, body, state } = task
  return (
    <>
      <Asked task={task} />
      {error === undefined ? null : (
        <div className="task-error" role="alert">
          <strong>
            {t.tasks.error}: {error.message}
          </strong>
          {error.hint === undefined ? null : <p>{error.hint}</p>}
        </div>
      )}
      {result?.preflight === undefined ? null : <PreflightRows rows={result.preflight} />}
      {result?.receipt === undefined ? null : (
        <>
          <h3>{t.tasks.result}</h3>
          {body.kind === 'restore' && state === 'done' ? (
            <p className="task-verified">
              <ToneShape tone="good" /> {t.tasks.verifiedAll}
            </p>
          ) : null}
          {receiptsOf(result.receipt).map((receipt) => (
            <Receipt key={String(receipt['source'] ?? receipt['target'])} receipt={receipt} />
          ))}
        </>
      )}
    </>
  )
}

function Asked({ task }: { readonly task: TaskRecord }): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  const { body, by, created, began, ended, agent } = task
  const rows: (readonly [string, string])[] = [[t.tasks.by, `${by} · ${formats.moment(created)}`]]
  if (body.kind === 'restore' || body.kind === 'preflight') {
    rows.push([t.tasks.target, body.inPlace === undefined ? body.to : t.tasks.inPlace])
    if (body.paths.length > 0) rows.push([t.tasks.paths, body.paths.join(', ')])
  }
  if ('at' in body) rows.push([t.tasks.moment, body.at === 'latest' ? t.tasks.newest : momentOf(body.at, formats)])
  if (agent !== undefined) rows.push([t.tasks.server, agent])
  if (began !== null && ended !== null)
    rows.push([t.tasks.took, formats.duration(Date.parse(ended) - Date.parse(began))])
  return <Facts rows={rows} />
}

const momentOf = (at: string, formats: ReturnType<typeof useFormats>): string =>
  /^\d{4}-\d\d-\d\dT/.test(at) ? formats.momentExactly(at) : at

/** A receipt of a system is one for each of its sources. */
const receiptsOf = (receipt: Readonly<Record<string, unknown>>): readonly Readonly<Record<string, unknown>>[] =>
  Array.isArray(receipt['sources']) ? (receipt['sources'] as Record<string, unknown>[]) : [receipt]

/** Where it says something that there is none. */
const toldAsNone = new Set(['files', 'bytes', 'wrong', 'failureCount'])

function Receipt({ receipt }: { readonly receipt: Readonly<Record<string, unknown>> }): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  const write = (key: string, value: unknown): string | undefined => {
    if (typeof value === 'boolean') return value ? t.tasks.yes : t.tasks.no
    if (typeof value === 'string') return momentOf(value, formats)
    if (typeof value !== 'number' || (value === 0 && !toldAsNone.has(key))) return undefined
    if (key === 'moment') return formats.momentExactly(value / 1000)
    if (key === 'seconds') return formats.duration(value * 1000)
    if (key.endsWith('Ms')) return formats.duration(value)
    if (key === 'port') return String(value)
    return key.toLowerCase().endsWith('bytes') ? formats.bytes(value) : formats.count(value)
  }
  // A server that was started is told within the receipt.
  const told: Readonly<Record<string, unknown>> = { ...receipt, ...(receipt['server'] as object | undefined) }
  const rows = Object.entries(t.tasks.facts).flatMap(([key, label]) => {
    const text = write(key, told[key])
    return text === undefined ? [] : [[label, text] as const]
  })
  return (
    <>
      <Facts rows={rows} />
      <Lines title={t.tasks.notes} lines={receipt['notes']} />
      <Lines title={t.tasks.failures} lines={receipt['failures']} />
    </>
  )
}

function Lines({ title, lines }: { readonly title: string; readonly lines: unknown }): ReactNode {
  if (!Array.isArray(lines) || lines.length === 0) return null
  return (
    <>
      <h4>{title}</h4>
      <ul className="task-lines">
        {lines.map((line: unknown) => {
          const text = typeof line === 'string' ? line : Object.values(line as object).join(': ')
          return <li key={text}>{text}</li>
        })}
      </ul>
    </>
  )
}

function Facts({ rows }: { readonly rows: readonly (readonly [string, string])[] }): ReactNode {
  return (
    <dl className="task-facts">
      {rows.map(([label, text]) => (
        <div key={label}>
          <dt>{label}</dt>
          <dd>{text}</dd>
        </div>
      ))}
    </dl>
  )
}
