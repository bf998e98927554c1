import { readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { TidemarkError, messageOf, isSystemError } from '../base/errors.ts'
import type { Clock } from '../base/clock.ts'
import type { Random } from '../base/random.ts'
import type { SourceDefinition, SourceKind } from '../model/source.ts'
import { writeSecret } from '../wire/authority.ts'
import { sourceDefinitionSchema } from '../wire/messages.ts'
import { Wake } from '../base/wake.ts'
import { Backoff } from './backoff.ts'

/**
 * Takes back at a source what its capture has set there: a replication slot, the name of a synchronous standby. Repeating it
 * is harmless.
 */
export type ReleaseSource = (source: SourceDefinition, signal: AbortSignal) => Promise<void>

export interface ReleasesParts {
  /** Of all sources of this agent, one folder each. */
  readonly directory: string
  readonly kinds: Readonly<Partial<Record<SourceKind, ReleaseSource>>>
  readonly clock: Clock
  readonly random: Random
  readonly tell: (line: string) => void
}

const noteName = 'release.json'

/**
 * Sources that are no longer protected and not yet let go. Each is noted in its folder, which goes when all is taken back;
 * so neither a server that is away nor a restart of the agent leaves something set for ever.
 */
export class Releases {
  readonly #parts: ReleasesParts
  readonly #noted = new Wake()
  #isNew = true

  constructor(parts: ReleasesParts) {
    this.#parts = parts
  }

  /** On disk when it resolves; the capture must have ended. */
  async add(source: SourceDefinition): Promise<void> {
    await writeSecret(join(this.#parts.directory, source.id, noteName), JSON.stringify(source))
    this.#isNew = true
    this.#noted.wake()
  }

  /** Protected again before it was let go. */
  async takeBack({ id }: SourceDefinition): Promise<void> {
    await rm(join(this.#parts.directory, id, noteName), { force: true })
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, random } = this.#parts
    const backoff = new Backoff(clock, random)
    for (;;) {
      this.#isNew = false
      const left = await this.#releaseAll(signal)
      if (left === 0) await this.#noted.until(() => (this.#isNew ? true : undefined), signal)
      else await backoff.wait(signal)
    }
  }

  /** How many are left. */
  async #releaseAll(signal: AbortSignal): Promise<number> {
    const { directory, kinds, tell } = this.#parts
    let left = 0
    for (const id of await folders(directory)) {
      const source = await noted(join(directory, id, noteName))
      if (source === undefined) continue
      try {
        await kinds[source.kind]?.(source, signal)
        await rm(join(directory, id), { recursive: true, force: true })
      } catch (error) {
        signal.throwIfAborted()
        left++
        tell(`${source.name} is not let go yet, it is tried again: ${messageOf(error)}`)
      }
    }
    return left
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
