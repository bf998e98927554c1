import type { Clock } from '../../base/clock.ts'
import { TidemarkError } from '../../base/errors.ts'
import { readPatroni } from './patroni.ts'
import type { Connection } from './protocol/connection.ts'
import { hasSqlState } from './protocol/database-error.ts'
import { quotedText } from './sql-text.ts'
import { formatStandbyNames, isNamed, parseStandbyNames, type StandbyNames, withoutName } from './standby-names.ts'
import { checkZeroLossRight } from './zero-loss-right.ts'

/**
 * For whom commits wait at a server: reading it, and changing it by ALTER SYSTEM and a reload. Neither writes log nor takes a
 * transaction, so both work while every commit waits.
 */
const effectMsMax = 5000
/** What a file says besides shows only by the time that passes. */
const resetMsMax = 2000
const retryMs = 20

export async function readStandbyNames(sql: Connection, signal: AbortSignal): Promise<StandbyNames> {
  const [set] = await sql.query('SHOW synchronous_standby_names', signal, `asking ${sql.where} for whom commits wait`)
  return parseStandbyNames(set?.rows[0]?.[0] ?? '')
}

/** Takes `name` out, and leaves the others. Commits that wait for it go on. */
export async function takeOut(sql: Connection, name: string, clock: Clock, signal: AbortSignal): Promise<void> {
  const before = await readStandbyNames(sql, signal)
  if (!isNamed(before, name)) return
  const patroni = await readPatroni(sql, signal)
  if (patroni !== undefined && patroni.synchronousMode !== 'off') await handBack(sql, name, clock, signal)
  else await setStandbyNames(sql, withoutName(before, name), clock, signal)
}

/** For whom commits wait is what the configuration says without us. */
async function handBack(sql: Connection, name: string, clock: Clock, signal: AbortSignal): Promise<void> {
  const attempted = `no longer changing for whom commits wait at ${sql.where}`
  await sql.query('ALTER SYSTEM RESET synchronous_standby_names', signal, attempted)
  await sql.query('SELECT pg_catalog.pg_reload_conf()', signal, attempted)
  if (await isSoWithin(effectMsMax, async () => !isNamed(await readStandbyNames(sql, signal), name), clock, signal))
    return
  throw notInEffect(sql, '')
}

/** Resolves when new commits go by it. */
export async function setStandbyNames(
  sql: Connection,
  wanted: StandbyNames,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  const text = formatStandbyNames(wanted)
  const attempted = `changing for whom commits wait at ${sql.where}`
  const statement = `ALTER SYSTEM SET synchronous_standby_names = ${quotedText(text)}`
  try {
    // Without a line of ours, what an operator later writes into postgresql.conf counts.
    await sql.query(text === '' ? 'ALTER SYSTEM RESET synchronous_standby_names' : statement, signal, attempted)
    await sql.query('SELECT pg_catalog.pg_reload_conf()', signal, attempted)
    if (await isInEffect(sql, text, clock, signal, text === '' ? resetMsMax : effectMsMax)) return
    if (text !== '') throw notInEffect(sql, text)
    // postgresql.conf says something else; it did not count before either.
    await sql.query(statement, signal, attempted)
    await sql.query('SELECT pg_catalog.pg_reload_conf()', signal, attempted)
    if (!(await isInEffect(sql, text, clock, signal))) throw notInEffect(sql, text)
  } catch (error) {
    if (!hasSqlState(error, '42501')) throw error
    const right = await checkZeroLossRight(sql, signal)
    throw new TidemarkError('database-precondition', {
      message: error.message,
      hint: right?.hint ?? `as a superuser: ${statement}; SELECT pg_reload_conf();`,
      cause: error,
    })
  }
}

async function isInEffect(
  sql: Connection,
  text: string,
  clock: Clock,
  signal: AbortSignal,
  withinMs = effectMsMax,
): Promise<boolean> {
  const isSo = async (): Promise<boolean> => formatStandbyNames(await readStandbyNames(sql, signal)) === text
  return await isSoWithin(withinMs, isSo, clock, signal)
}

async function isSoWithin(
  withinMs: number,
  isSo: () => Promise<boolean>,
  clock: Clock,
  signal: AbortSignal,
): Promise<boolean> {
  // Counted, so that a machine that stands still for a while looks as often.
  for (let waitedMs = 0; waitedMs < withinMs; waitedMs += retryMs) {
    if (await isSo()) return true
    await clock.sleep(retryMs, signal)
  }
  return false
}

const notInEffect = ({ where }: Connection, text: string): TidemarkError =>
  new TidemarkError('database-precondition', {
    message: `synchronous_standby_names = '${text}' has no effect at ${where}: it is also set on the command line or by a cluster manager`,
    hint: 'set it there, or protect the server without zero loss',
  })
