import { z } from 'zod'
import { type ApiClient, apiPath } from '../../api/client.ts'
import type { Alarm, Report } from '../../api/console.ts'
import { type Measure, type MeasureStep, measuresAnswer } from '../../api/measures.ts'
import { holesAnswer, type SourceStatus, verification } from '../../api/schemas.ts'
import { type TaskRecord, taskRecord, tasksKeptMax } from '../../api/tasks.ts'
import { messageOf, TidemarkError } from '../../base/errors.ts'
import { isoMoment, type Moment } from '../../model/moment.ts'
import { systemOf } from '../alarms/seen.ts'
import type { KnownVault } from '../known-vault.ts'
import { summarise } from './measured.ts'
import { isoSpan, isWithin, type Span, spanOf } from './month.ts'

/** Of one system in one month; its alarms are all in the console's database, and only so many are told. */
export const alarmsMax = 500
const verificationsMax = 1000
/** Sources that are asked about at once, for one report: a vault has others to answer, and each answers with a month. */
const sourcesAtOnce = 8
const dayMs = 86_400_000

interface Wanted {
  readonly system: string
  readonly month: string
}

/** Asks the vaults of the system until `signal` aborts; one that is away, or refuses, is named in the report as missing from it. */
export async function makeReport(
  { system, month }: Wanted,
  vaults: readonly KnownVault[],
  alarmsOf: (span: Span) => readonly Alarm[],
  now: Moment,
  signal: AbortSignal,
): Promise<Report> {
  const span = spanOf(month, now)
  const found = vaults.flatMap((vault) =>
    (vault.lastTold?.sources ?? [])
      .filter((source) => systemOf(source) === system)
      .map((source) => ({ vault, source })),
  )
  if (found.length === 0) {
    throw new TidemarkError('not-found', {
      message: `no vault of this console has told of a system "${system}"`,
      hint: 'the page Systems lists those that there are',
    })
  }
  const asked: (Source | Report['missing'][number])[] = []
  for (let at = 0; at < found.length; at += sourcesAtOnce) {
    signal.throwIfAborted()
    const some = found.slice(at, at + sourcesAtOnce)
    asked.push(...(await Promise.all(some.map(({ vault, source }) => askSource(vault, source, span)))))
  }
  const restores = await Promise.all(
    [...new Set(found.map(({ vault }) => vault))].map((vault) => askRestores(vault, span)),
  )
  const names = new Set(found.map(({ source }) => source.name))
  return {
    system,
    month,
    from: isoMoment(span.from),
    until: isoMoment(span.until),
    made: isoMoment(now),
    missing: asked.flatMap((one) => ('reason' in one ? [one] : [])),
    sources: asked.flatMap((one) => ('reason' in one ? [] : [one])),
    restores: restores
      .flat()
      .filter(({ source, ofSystem }) => ofSystem === system || (source !== undefined && names.has(source)))
      .map(({ ofSystem: _, source = system, ...restore }) => ({ source, ...restore })),
    alarms: [...alarmsOf(span)],
  }
}

type Source = Report['sources'][number]

async function askSource(
  vault: KnownVault,
  source: SourceStatus,
  span: Span,
): Promise<Source | Report['missing'][number]> {
  const { name } = vault.record
  try {
    if (vault.told === undefined) throw new TidemarkError('unreachable', { message: vault.entry.error ?? 'it is away' })
    const { client } = vault
    const asked = measures(client, source, span, 'hour')
    const [hours, begun, holes, verifications] = await Promise.all([
      asked,
      firstMeasured(client, source, span, asked),
      holesOf(client, source, span),
      verificationsOf(client, source, span),
    ])
    return {
      name: source.name,
      vault: name,
      kind: source.kind,
      lagMsMax: source.policy.lagMsMax,
      ...summarise(hours, begun, span),
      holes,
      verifications,
    }
  } catch (error) {
    return { vault: name, source: source.name, reason: messageOf(error) }
  }
}

async function measures(client: ApiClient, { id }: SourceStatus, span: Span, step: MeasureStep): Promise<Measure[]> {
  if (span.until <= span.from) return []
  const path = apiPath(`/v1/sources/${id}/measures`, { ...isoSpan(span), step })
  return (await client.json('GET', path, measuresAnswer)).measures
}

/** The month before tells whether it was protected when this one began; else the first day is looked at by the minute. */
async function firstMeasured(
  client: ApiClient,
  source: SourceStatus,
  span: Span,
  hours: Promise<readonly Measure[]>,
): Promise<Moment | undefined> {
  const before = { from: Math.max(0, span.from - 31 * dayMs * 1000) as Moment, until: span.from }
  if ((await measures(client, source, before, 'day')).length > 0) return span.from
  const [first] = await hours
  if (first === undefined) return undefined
  const from = microseconds(first.at)
  const hour = { from, until: Math.min(span.until, from + 3_600_000_000) as Moment }
  const [minute = first] = await measures(client, source, hour, 'minute')
  return microseconds(minute.at)
}

async function holesOf(client: ApiClient, { id, earliest }: SourceStatus, span: Span): Promise<Source['holes']> {
  if (earliest === null) return []
  const { from, to } = isoSpan(span)
  const holes = await client.json('GET', apiPath(`/v1/sources/${id}/holes`, { from, to }), holesAnswer)
  return holes.map(({ moment, until, reason }) => ({ from: moment, until, reason }))
}

async function verificationsOf(client: ApiClient, { id }: SourceStatus, span: Span): Promise<Source['verifications']> {
  const path = apiPath(`/v1/sources/${id}/verifications`, { ...isoSpan(span), limit: verificationsMax })
  const rows = await client.json('GET', path, z.array(verification))
  return rows.map(({ at, moment, good, text, by }) => ({ at, moment, good, text, by }))
}

type Restore = Omit<Report['restores'][number], 'source'> & {
  source?: string | undefined
  ofSystem?: string | undefined
}

/** What a vault keeps of them; one that is away has been named already. */
async function askRestores(vault: KnownVault, span: Span): Promise<Restore[]> {
  if (vault.told === undefined) return []
  const tasks = await vault.client
    .json('GET', apiPath('/v1/tasks', { limit: tasksKeptMax }), z.array(taskRecord))
    .catch((error: unknown) => {
      if (error instanceof TidemarkError) return []
      throw error
    })
  return tasks.flatMap((task) => (isWithin(task.created, span) ? restoreOf(vault.record.name, task) : []))
}

export function restoreOf(
  vault: string,
  { body, source, by, state, created, began, ended, progress }: TaskRecord,
): Restore[] {
  if (body.kind !== 'restore') return []
  const from = began ?? created
  return [
    {
      vault,
      // Whoever asked may have named it by its id.
      source: source ?? body.source,
      ofSystem: body.system,
      to: body.to,
      by,
      state,
      began: from,
      ended,
      seconds: ended === null ? null : (Date.parse(ended) - Date.parse(from)) / 1000,
      bytes: progress?.bytes ?? null,
    },
  ]
}

const microseconds = (iso: string): Moment => (Date.parse(iso) * 1000) as Moment
