import { mkdir, readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { isCode, isSystemError, messageOf, TidemarkError } from '../base/errors.ts'
import type { Clock } from '../base/clock.ts'
import type { Random } from '../base/random.ts'
import type { Tell } from '../base/tell.ts'
import type { Problem } from '../model/report.ts'
import type { SourceDefinition, SourceKind } from '../model/source.ts'
import { writeSecret } from '../wire/authority.ts'
import { sourceDefinitionSchema } from '../wire/messages.ts'
import { Wake } from '../base/wake.ts'
import { Backoff } from '../base/backoff.ts'

/** How a kind of source is let go: what its capture has set there, a replication slot or the name of a standby, is taken back. */
export interface Release {
  /** Repeating it is harmless. The hint of what it throws says what is left to be done, and how it is done by hand. */
  readonly letGo: (source: SourceDefinition, signal: AbortSignal) => Promise<void>
  /** After so long without success it is not tried again until it is asked for; absent: tried until it is done. */
  readonly triedMsMax?: number
}

export interface ReleasesParts {
  /** Of all sources of this agent, one folder each. */
  readonly directory: string
  readonly kinds: Readonly<Partial<Record<SourceKind, Release>>>
  /** Has the vault show what is wrong with a source that is let go; nothing is, where there are none. Rejects while there is no line. */
  readonly report: (source: SourceDefinition, problems: readonly Problem[], signal: AbortSignal) => Promise<void>
  readonly clock: Clock
  readonly random: Random
  readonly tell: Tell
}

/** A source that is not let go yet. */
export interface ReleaseStatus {
  readonly name: string
  /** `left`: it is not tried any more. */
  readonly state: 'trying' | 'left'
  readonly problem: Problem | undefined
}

interface Unreleased {
  readonly source: SourceDefinition
  /** Monotonic; of the first try since the agent was started, or since another was asked for. */
  triedSinceMs: number
  /** `done`: the vault still shows what was wrong before. */
  state: ReleaseStatus['state'] | 'done'
  problem: Problem | undefined
  /** What the vault was told last. */
  told: Problem | undefined
}

const noteName = 'release.json'

/**
 * Sources that are no longer protected and not yet let go. Each is noted in its folder, which goes when all is taken back;
 * so neither a server that is away nor a restart of the agent leaves something set without anybody's knowledge. It ends in
 * one of three ways: all is taken back; it was tried for long enough, and what is left is told until somebody asks for
 * another try; or it is forgotten by order, for a server that is gone for good.
 */
export class Releases {
  readonly #parts: ReleasesParts
  readonly #changed = new Wake()
  readonly #unreleased = new Map<SourceDefinition['id'], Unreleased>()
  /** A note of theirs that was read before it went does not count. */
  readonly #dismissed = new Set<SourceDefinition['id']>()
  #isNew = true

  constructor(parts: ReleasesParts) {
    this.#parts = parts
  }

  /** On disk when it resolves; the capture must have ended. */
  async add(source: SourceDefinition): Promise<void> {
    const folder = join(this.#parts.directory, source.id)
    this.#dismissed.delete(source.id)
    // One that was paused from its beginning has none.
    await mkdir(folder, { recursive: true, mode: 0o700 })
    await writeSecret(join(folder, noteName), JSON.stringify(source))
    this.#wake()
  }

  /** Protected again before it was let go. */
  async takeBack({ id }: SourceDefinition): Promise<void> {
    this.#dismissed.add(id)
    this.#unreleased.delete(id)
    await rm(join(this.#parts.directory, id, noteName), { force: true })
  }

  status(): ReleaseStatus[] {
    return [...this.#unreleased.values()].flatMap(({ source: { name }, state, problem }) =>
      state === 'done' ? [] : [{ name, state, problem }],
    )
  }

  /** Tries for as long as at first, whether it was given up or not. */
  again(name: string): void {
    for (const one of this.#named(name)) {
      one.state = 'trying'
      one.triedSinceMs = this.#parts.clock.monotonicMs()
    }
    this.#wake()
  }

  /** What is set at the source stays set. Answers what is left to be done by hand, as it was last known. */
  async forget(name: string): Promise<Problem[]> {
    const forgotten = this.#named(name).filter(({ state }) => state !== 'done')
    for (const { source } of forgotten) {
      this.#dismissed.add(source.id)
      this.#unreleased.delete(source.id)
      await rm(join(this.#parts.directory, source.id), { recursive: true, force: true })
      this.#parts.tell(`${source.name} is forgotten; what was set at it stays set`)
    }
    this.#wake()
    return forgotten.flatMap(({ problem }) => problem ?? [])
  }

  /** The vault may be another process now, which knows nothing of what the one before was told. */
  vaultReached(): void {
    for (const one of this.#unreleased.values()) one.told = undefined
    this.#wake()
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, random } = this.#parts
    const backoff = new Backoff(clock, random)
    for (;;) {
      this.#isNew = false
      await this.#releaseAll(signal)
      if ([...this.#unreleased.values()].some((one) => one.state === 'trying' || !isTold(one)))
        await backoff.wait(signal)
      else await this.#changed.until(() => (this.#isNew ? true : undefined), signal)
    }
  }

  async #releaseAll(signal: AbortSignal): Promise<void> {
    const { directory } = this.#parts
    for (const id of await folders(directory)) {
      const source = await noted(join(directory, id, noteName))
      if (source === undefined || this.#dismissed.has(source.id) || this.#unreleased.has(source.id)) continue
      this.#begin(source)
    }
    for (const one of this.#unreleased.values()) {
      if (one.state === 'trying') await this.#release(one, signal)
      if (!isTold(one)) await this.#report(one, signal)
      if (one.state === 'done' && isTold(one)) this.#unreleased.delete(one.source.id)
    }
  }

  #begin(source: SourceDefinition): void {
    const triedSinceMs = this.#parts.clock.monotonicMs()
    this.#unreleased.set(source.id, { source, triedSinceMs, state: 'trying', problem: undefined, told: undefined })
  }

  async #release(one: Unreleased, signal: AbortSignal): Promise<void> {
    const { directory, kinds, clock, tell } = this.#parts
    const { source } = one
    const { letGo, triedMsMax = Infinity } = kinds[source.kind] ?? {}
    try {
      await letGo?.(source, signal)
      await rm(join(directory, source.id), { recursive: true, force: true })
      one.state = 'done'
      one.problem = undefined
    } catch (error) {
      signal.throwIfAborted()
      if (clock.monotonicMs() - one.triedSinceMs >= triedMsMax) one.state = 'left'
      const before = one.problem
      one.problem = problemOf(source, error, one.state === 'left')
      if (before?.message !== one.problem.message) tell(one.problem.message)
    }
  }

  /** Where there is no line it is told once there is one. */
  async #report(one: Unreleased, signal: AbortSignal): Promise<void> {
    const { source, problem } = one
    try {
      await this.#parts.report(source, problem ? [problem] : [], signal)
      one.told = problem
    } catch (error) {
      signal.throwIfAborted()
      // Its history is forgotten, and with it who could look at this.
      if (isCode(error, 'not-found')) one.told = problem
      else this.#parts.tell(`the vault was not told how ${source.name} is let go: ${messageOf(error)}`)
    }
  }

  #named(wanted: string): Unreleased[] {
    const found = [...this.#unreleased.values()].filter(({ source: { name, id } }) => name === wanted || id === wanted)
    if (found.length > 0) return found
    throw new TidemarkError('not-found', {
      message: `this agent has nothing of a source "${wanted}" that is to be let go`,
      hint: 'all of it is taken back, or it is still protected, or another agent did so: "tidemark status" tells',
    })
  }

  #wake(): void {
    this.#isNew = true
    this.#changed.wake()
  }
}

const isTold = ({ problem, told }: Unreleased): boolean => problem?.message === told?.message

function problemOf({ name }: SourceDefinition, error: unknown, isLeft: boolean): Problem {
  const why = messageOf(error)
  const byHand = error instanceof TidemarkError ? error.hint : undefined
  const again = `at its server: "tidemark unprotect ${name} --again" tries again, "--force" forgets it`
  return isLeft
    ? {
        code: 'release-left',
        message: `${name} is not let go, and that is not tried any more: ${why}`,
        hint: byHand === undefined ? again : `${byHand}; ${again}`,
      }
    : {
        code: 'release-waits',
        message: `${name} is not let go yet, it is tried again: ${why}`,
        ...(byHand === undefined ? {} : { hint: byHand }),
      }
}

async function folders(directory: string): Promise<string[]> {
  try {
    return await readdir(directory)
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return []
    throw error
  }
}

async function noted(file: string): Promise<SourceDefinition | undefined> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (error) {
    if (isSystemError(error, 'ENOENT', 'ENOTDIR')) return undefined
    throw error
  }
  const read = sourceDefinitionSchema.safeParse(JSON.parse(text))
  if (read.success) return read.data as SourceDefinition
  throw new TidemarkError('damaged', {
    message: `${file} is not what the agent wrote`,
    hint: 'see what is still set at the source by hand, then remove this file',
  })
}
