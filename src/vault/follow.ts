import type { Clock } from '../base/clock.ts'
import { TidemarkError } from '../base/errors.ts'
import type { FollowedChanges, FollowFrame } from '../format/follow.ts'
import { lastOf } from '../model/batch.ts'
import type { Change } from '../model/change.ts'
import { moment } from '../model/moment.ts'
import { isWithin, type TreePath } from '../model/path.ts'
import type { Sequence } from '../model/sequence.ts'
import type { Id } from '../model/source.ts'
import type { StoredBatch } from './reader.ts'
import type { Vault } from './vault.ts'

export interface FollowRequest {
  readonly source: Id
  /** What comes after this one is told. */
  readonly after: Sequence
  /** Changes that touch none of these are passed over, marks excepted; none means everything. */
  readonly paths: readonly TreePath[]
}

/** Silence is broken this often. */
const aliveMs = 5000

/**
 * The changes of a journal after a sequence, as they become durable, for ever. All is read from the stored files, so every
 * byte was authenticated, and a slow reader costs no memory: reading goes on when the frame before was taken.
 *
 * Throws where it cannot begin: `point-unreachable` where what comes next has left the kept history, or `after` has not
 * happened. Whatever ends it later is told in its last frame. It ends without one only when `signal` aborts.
 */
export async function* followJournal(
  vault: Vault,
  clock: Clock,
  { source, after, paths }: FollowRequest,
  signal: AbortSignal,
): AsyncGenerator<FollowFrame> {
  const { durable } = vault.journal(source)
  if (after > durable) {
    throw new TidemarkError('point-unreachable', {
      message: `change ${after} has not happened here: the journal ends at ${durable}`,
      hint: 'this vault may have been brought back from an older copy; begin anew from a point it has',
    })
  }
  using growth = new Growing(vault, source, clock)
  let through = after
  let hasBegun = false
  try {
    for (let isSilent = true; ; isSilent = await growth.beyond(through, signal)) {
      let told = through
      let isNews = false
      // Asked again each time: a source that was removed has no journal any more.
      for await (const stored of vault.journal(source).batches(through, signal)) {
        const found = select(stored, through, paths)
        through = lastOf(stored.batch)
        hasBegun = true
        if (found === undefined) continue
        told = through
        isNews = true
        yield { kind: 'changes', ...found }
      }
      hasBegun = true
      if (told < through || (isSilent && !isNews)) yield { kind: 'alive', through, now: moment(clock.now()) }
    }
  } catch (error) {
    signal.throwIfAborted()
    if (!hasBegun || !(error instanceof TidemarkError)) throw error
    yield { kind: 'end', code: error.code, message: error.message, hint: error.hint ?? '' }
  }
}

/** Wakes one who waits for a journal to grow, for its source to go, or for too long a silence. */
class Growing implements Disposable {
  readonly #vault: Vault
  readonly #source: Id
  readonly #clock: Clock
  readonly #listening: readonly Disposable[]
  #wake: () => void = () => undefined

  constructor(vault: Vault, source: Id, clock: Clock) {
    this.#vault = vault
    this.#source = source
    this.#clock = clock
    this.#listening = [
      vault.onDurable((growth) => growth.source === source && this.#wake()),
      vault.registry.onChange(() => this.#wake()),
    ]
  }

  /** Resolves with whether it was too long a silence. */
  async beyond(through: Sequence, signal: AbortSignal): Promise<boolean> {
    const late = new AbortController()
    const stop = AbortSignal.any([signal, late.signal])
    try {
      const isLate = this.#clock.sleep(aliveMs, stop).then(
        () => true,
        () => true,
      )
      while (this.#vault.journal(this.#source).durable <= through) {
        const woken = Promise.withResolvers<false>()
        this.#wake = () => woken.resolve(false)
        const isOver = await Promise.race([isLate, woken.promise])
        signal.throwIfAborted()
        if (isOver) return true
        // Throws where it was removed.
        this.#vault.registry.source(this.#source)
      }
      return false
    } finally {
      late.abort()
    }
  }

  [Symbol.dispose](): void {
    for (const one of this.#listening) one[Symbol.dispose]()
  }
}

function select(
  { batch, received }: StoredBatch,
  through: Sequence,
  paths: readonly TreePath[],
): FollowedChanges | undefined {
  const changes = batch.changes
    .map(({ moment: at, change }, index) => ({ sequence: (batch.first + index) as Sequence, moment: at, change }))
    .filter(({ sequence, change }) => sequence > through && (paths.length === 0 || touches(change, paths)))
  if (changes.length === 0) return undefined
  return { through: lastOf(batch), settled: batch.settled, received, cursor: batch.cursor, changes }
}

function touches(change: Change, paths: readonly TreePath[]): boolean {
  if (change.kind === 'mark') return true
  const touched = change.kind === 'rename' ? [change.path, change.from] : [change.path]
  return touched.some((path) => paths.some((wanted) => isWithin(path, wanted) || isWithin(wanted, path)))
}
