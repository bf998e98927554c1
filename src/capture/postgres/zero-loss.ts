import { EventEmitter, once } from 'node:events'
import type { Clock } from '../../base/clock.ts'
import { messageOf, TidemarkError } from '../../base/errors.ts'
import { formatMoment, type Moment, moment } from '../../model/moment.ts'
import type { Problem } from '../../model/report.ts'
import type { ZeroLoss } from '../../model/source.ts'
import { readStandbyNames, setStandbyNames, takeOut } from './commit-waiting.ts'
import { openPrimary } from './primary.ts'
import { patroniForbidsZeroLoss, readPatroni } from './patroni.ts'
import type { Connection } from './protocol/connection.ts'
import type { ServerRequest } from './server.ts'
import { quotedText } from './sql-text.ts'
import {
  formatStandbyNames,
  isNamed,
  type StandbyNames,
  waitsAlwaysFor,
  waitsFor,
  withName,
  withoutName,
} from './standby-names.ts'

/** Commits did not wait for the vault; without `until`, they do not yet again. */
export interface UnprotectedSpan {
  readonly since: Moment
  readonly until?: Moment
}

export interface ZeroLossParts {
  /** Its application_name is what commits wait for. */
  readonly server: ServerRequest
  /** Undefined: no commit is to wait, and what an earlier setting left is taken back. */
  readonly zeroLoss: ZeroLoss | undefined
  /** When something was last captured: whether commits waited since then is not known. Undefined: nothing was. */
  readonly capturedAt: Moment | undefined
  readonly clock: Clock
  /** Called at its beginning, and at its end. */
  readonly unprotected: (span: UnprotectedSpan) => void
}

const lookMs = 1000
/** While commits wait for the vault, somebody may hand their keeping over to Patroni. */
const patroniLookMs = 10_000
const stopMsMax = 5000

/**
 * Keeps `synchronous_standby_names` so that commits wait for the vault exactly when they should. What it knows of the past
 * is the server's setting, so a restart changes nothing.
 *
 *   no name of ours                     the span is noted, from the last look that found it on, else from what was captured last
 *   no name of ours, caught up          our name is set, where the setting is empty; else the operator is told the line
 *   our name, acknowledgements come     nothing
 *   our name, none for `degradeMs`      our name is taken out, and the span noted; `block`, without degradeMs: commits wait
 *   no zero loss wanted                 our name is taken out
 *   Patroni says for whom commits wait  our name is taken out, and not set: patroni.ts tells why
 *   the capture ends                    with degradeMs our name is taken out, as nobody would be there to do it; else it stays
 *
 * It is switched on only for a receiver that streams and has caught up: one that is behind would stop commits for as long.
 */
export class ZeroLossKeeper {
  readonly #parts: ZeroLossParts
  readonly #name: string
  readonly #changed = new EventEmitter()
  readonly #problems = new Map<string, Problem>()
  #sql: Connection | undefined
  #isCaughtUp = false
  #line = false
  #isOn = false
  /** Monotonic; since when commits may be waiting without an acknowledgement. */
  #silentSinceMs: number | undefined
  #unprotected: { readonly since: Moment; readonly isDegraded: boolean } | undefined
  /** Up to then nothing is known to have been unprotected: the last look that found it on, before the first what was captured last. */
  #seenOn: Moment
  #forbidden: ReturnType<typeof patroniForbidsZeroLoss>
  #patroniSeenMs = -Infinity
  /** An operator's setting with our name in it, that we took our name out of. */
  #operators: StandbyNames | undefined

  constructor(parts: ZeroLossParts) {
    this.#parts = parts
    this.#name = parts.server.applicationName
    this.#silentSinceMs = parts.clock.monotonicMs()
    this.#seenOn = parts.capturedAt ?? this.#now
  }

  /** Whether everything that the server has written, but for what is under way, is acknowledged by the vault. */
  caughtUp(isCaughtUp: boolean): void {
    // Told at every commit: the server is asked only where it makes a difference.
    if (isCaughtUp === this.#isCaughtUp) return
    this.#isCaughtUp = isCaughtUp
    this.#judge()
  }

  /** Whether the vault is reached. */
  line(up: boolean): void {
    this.#line = up
    this.#judge()
  }

  /** The vault has acknowledged something: commits may be waiting, but not without an end. */
  acknowledged(): void {
    if (this.#silentSinceMs !== undefined) this.#silentSinceMs = this.#parts.clock.monotonicMs()
  }

  /** Commits wait for the vault, as the server last said. */
  get isOn(): boolean {
    return this.#isOn
  }

  problems(): Problem[] {
    return [...this.#problems.values()]
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#parts
    try {
      while (!signal.aborted) {
        await this.#tend(signal)
        const woken = new AbortController()
        const either = AbortSignal.any([signal, woken.signal])
        const waiting = [clock.sleep(lookMs, either), once(this.#changed, 'change', { signal: either })]
        // Either rejects only by being called off, here or by the end.
        await Promise.race(waiting).catch(() => {})
        woken.abort()
        await Promise.allSettled(waiting)
      }
    } finally {
      await this.#end()
    }
  }

  #judge(): void {
    const isWell = this.#isCaughtUp && this.#line
    if (isWell) this.#silentSinceMs = undefined
    else this.#silentSinceMs ??= this.#parts.clock.monotonicMs()
    this.#changed.emit('change')
  }

  async #tend(signal: AbortSignal): Promise<void> {
    try {
      this.#sql ??= await openPrimary(this.#parts.server, signal)
      await this.#keep(this.#sql, signal)
      this.#problems.delete('failure')
    } catch (error) {
      if (signal.aborted) return
      await this.#sql?.[Symbol.asyncDispose]()
      this.#sql = undefined
      if (this.#parts.zeroLoss === undefined && !this.#isOn) return
      const hint = error instanceof TidemarkError ? error.hint : undefined
      // What was seen before may be so no more.
      this.#problems.clear()
      this.#problems.set('failure', {
        code: 'zero-loss-unknown',
        message: `whether commits wait for the vault cannot be seen to: ${messageOf(error)}`,
        ...(hint ? { hint } : {}),
      })
    }
  }

  async #keep(sql: Connection, signal: AbortSignal): Promise<void> {
    const { zeroLoss, clock } = this.#parts
    const setting = await readStandbyNames(sql, signal)
    this.#isOn = waitsFor(setting, this.#name)
    if (zeroLoss === undefined) {
      await takeOut(sql, this.#name, clock, signal)
      this.#isOn = false
      return
    }
    if (this.#isOn) this.#foundOn()
    else this.#foundOff()
    await this.#tell(sql, await this.#change(sql, setting, zeroLoss, signal), signal)
  }

  /** What the setting is then. */
  async #change(
    sql: Connection,
    setting: StandbyNames,
    { degradeMs }: ZeroLoss,
    signal: AbortSignal,
  ): Promise<StandbyNames> {
    if (await this.#isForbidden(sql, signal)) return await this.#leaveToPatroni(sql, setting, signal)
    if (this.#isOn && this.#isSilentFor(degradeMs)) return await this.#degrade(sql, setting, signal)
    if (!this.#isOn && this.#isCaughtUp && this.#line) return await this.#switchOn(sql, setting, signal)
    return setting
  }

  async #isForbidden(sql: Connection, signal: AbortSignal): Promise<boolean> {
    const nowMs = this.#parts.clock.monotonicMs()
    if (!this.#isOn || nowMs - this.#patroniSeenMs >= patroniLookMs) {
      const patroni = await readPatroni(sql, signal)
      this.#forbidden = patroni && patroniForbidsZeroLoss(patroni, sql)
      this.#patroniSeenMs = nowMs
    }
    return this.#forbidden !== undefined
  }

  async #leaveToPatroni(sql: Connection, setting: StandbyNames, signal: AbortSignal): Promise<StandbyNames> {
    this.#operators = undefined
    if (!isNamed(setting, this.#name)) return setting
    if (this.#isOn) this.#foundOff()
    await takeOut(sql, this.#name, this.#parts.clock, signal)
    this.#isOn = false
    return await readStandbyNames(sql, signal)
  }

  #isSilentFor(ms: number | undefined): boolean {
    return (
      ms !== undefined &&
      this.#silentSinceMs !== undefined &&
      this.#parts.clock.monotonicMs() - this.#silentSinceMs >= ms
    )
  }

  async #degrade(sql: Connection, setting: StandbyNames, signal: AbortSignal): Promise<StandbyNames> {
    const since = this.#now
    const wanted = withoutName(setting, this.#name)
    if (setting.names.length > 1) this.#operators = setting
    // Said before it is so; where it fails, the next look ends the span, or finds that it is so all the same.
    this.#unprotected = { since, isDegraded: true }
    this.#parts.unprotected({ since })
    await setStandbyNames(sql, wanted, this.#parts.clock, signal)
    this.#isOn = false
    return wanted
  }

  async #switchOn(sql: Connection, setting: StandbyNames, signal: AbortSignal): Promise<StandbyNames> {
    if (!(await this.#isStreaming(sql, signal))) return setting
    const isOurs = this.#operators && isSameSetting(withoutName(this.#operators, this.#name), setting)
    if (setting.names.length > 0 && !isOurs) return setting
    const wanted = (isOurs && this.#operators) || withName(setting, this.#name)
    await setStandbyNames(sql, wanted, this.#parts.clock, signal)
    this.#isOn = true
    this.#operators = undefined
    this.#foundOn()
    return wanted
  }

  /** One that still catches up has a place in pg_stat_replication as well. */
  async #isStreaming(sql: Connection, signal: AbortSignal): Promise<boolean> {
    const [set] = await sql.query(
      `SELECT 1 FROM pg_catalog.pg_stat_replication WHERE application_name = ${quotedText(this.#name)} AND state = 'streaming'`,
      signal,
      `looking at the receivers of ${sql.where}`,
    )
    return (set?.rows.length ?? 0) > 0
  }

  #foundOn(): void {
    this.#seenOn = this.#now
    if (this.#unprotected === undefined) return
    this.#parts.unprotected({ since: this.#unprotected.since, until: this.#seenOn })
    this.#unprotected = undefined
  }

  /** Before the first time, and where somebody else has taken our name out. */
  #foundOff(): void {
    if (this.#unprotected !== undefined) return
    this.#unprotected = { since: this.#seenOn, isDegraded: false }
    this.#parts.unprotected({ since: this.#seenOn })
  }

  async #tell(sql: Connection, setting: StandbyNames, signal: AbortSignal): Promise<void> {
    const [commit] = await sql.query('SHOW synchronous_commit', signal)
    const level = commit?.rows[0]?.[0] ?? ''
    this.#note(
      'commit',
      (level === 'off' || level === 'local') && {
        code: 'zero-loss-commit',
        message: `synchronous_commit is ${level}: no commit waits for the vault`,
        hint: 'ALTER SYSTEM SET synchronous_commit = on; SELECT pg_reload_conf();',
      },
    )
    this.#note('state', this.#isOn ? this.#problemWhileOn(setting) : this.#problemWhileOff(setting))
  }

  #problemWhileOn(setting: StandbyNames): Problem | false {
    if (this.#silentSinceMs !== undefined && !this.#line) {
      const { degradeMs } = this.#parts.zeroLoss ?? {}
      const hint = `to let them go on without it: ALTER SYSTEM SET synchronous_standby_names = ${quotedText(formatStandbyNames(withoutName(setting, this.#name)))}; SELECT pg_reload_conf();`
      return degradeMs === undefined
        ? { code: 'zero-loss-blocked', message: 'commits wait for the vault, which cannot be reached', hint }
        : {
            code: 'zero-loss-blocked',
            message: `commits wait for the vault, and go on without it ${degradeMs / 1000} s after its last word`,
            hint,
          }
    }
    if (setting.names.length === 0 || waitsAlwaysFor(setting, this.#name)) return false
    return {
      code: 'zero-loss-weak',
      message: `synchronous_standby_names lets commits go on without the vault while others are there: '${formatStandbyNames(setting)}'`,
      hint: `for it to be needed always, name as many as have to answer: '${formatStandbyNames({ ...setting, method: 'FIRST', count: setting.names.length })}'`,
    }
  }

  #problemWhileOff(setting: StandbyNames): Problem {
    const { since, isDegraded } = this.#unprotected ?? { since: this.#seenOn, isDegraded: false }
    const unprotected = `since ${formatMoment(since)} commits have not waited for the vault`
    if (this.#forbidden !== undefined) {
      const { message, hint } = this.#forbidden
      return { code: 'zero-loss-patroni', message: `${unprotected}: ${message}`, hint }
    }
    if (isDegraded) {
      return {
        code: 'zero-loss-degraded',
        message: `${unprotected}, because it has not answered; they do again by themselves`,
        hint: 'see to the line, and to the vault',
      }
    }
    if (setting.names.length > 0) {
      const wanted = formatStandbyNames(withName(setting, this.#name))
      return {
        code: 'zero-loss-names',
        message: `${unprotected}: synchronous_standby_names is '${formatStandbyNames(setting)}'${isNamed(setting, this.#name) ? ', which others alone can answer' : ''}, and is not changed here`,
        hint: `ALTER SYSTEM SET synchronous_standby_names = ${quotedText(wanted)}; SELECT pg_reload_conf();`,
      }
    }
    return {
      code: 'zero-loss-waiting',
      message: `${unprotected}: it has not caught up yet`,
      hint: 'nothing is to be done while it comes nearer',
    }
  }

  #note(topic: string, problem: Problem | false): void {
    if (problem) this.#problems.set(topic, problem)
    else this.#problems.delete(topic)
  }

  async #end(): Promise<void> {
    const { zeroLoss, clock, server } = this.#parts
    try {
      if (zeroLoss?.degradeMs === undefined || !this.#isOn) return
      const signal = AbortSignal.timeout(stopMsMax)
      this.#sql ??= await openPrimary(server, signal)
      this.#parts.unprotected({ since: this.#now })
      await takeOut(this.#sql, this.#name, clock, signal)
    } finally {
      await this.#sql?.[Symbol.asyncDispose]()
      this.#sql = undefined
    }
  }

  get #now(): Moment {
    return moment(this.#parts.clock.now())
  }
}

const isSameSetting = (one: StandbyNames, other: StandbyNames): boolean =>
  formatStandbyNames(one) === formatStandbyNames(other)
