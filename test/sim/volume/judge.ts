import { decodeCursor } from '../../../src/capture/volume/cursor.ts'
import { whyGap } from '../../../src/capture/volume/state.ts'
import { type Batch, inlineBytesMax, lastOf } from '../../../src/model/batch.ts'
import type { Change } from '../../../src/model/change.ts'
import type { Sequence } from '../../../src/model/sequence.ts'
import { Broken, type Line } from '../oracle.ts'
import type { VolumeOp, VolumeUsers } from './users.ts'

/** What a change must be, of which it does not matter how it was made. */
type Wanted =
  | { readonly kind: 'write'; readonly at: number; readonly data: Uint8Array }
  | { readonly kind: 'zero'; readonly at: number; readonly bytes: number }
  | { readonly kind: 'flush' }
  | { readonly kind: 'mark'; readonly label: string | undefined }

interface State {
  /** The last record that is in the journal as a whole. */
  readonly number: number
  /** How many changes of the one after it are. */
  readonly done: number
  /** Since when the journal has a disk, and says that it is suspect; before that there is nothing that could be missing. */
  readonly begun: number | undefined
  readonly isSuspect: boolean
}

const beginning: State = { number: 0, done: 0, begun: undefined, isSuspect: true }

/** What is known of each change of one batch. */
interface Judged {
  readonly after: State
  /** The record after which the disk in the journal is the volume; undefined where that is not claimed. */
  readonly exactAt: readonly (number | undefined)[]
}

/**
 * Holds a volume's journal against what its users asked for: every record is there, in its order, as the changes it has to be, with
 * its flush behind it; where records are missing a hole says so, from the first of them on, and all is suspect until it is copied.
 */
export class VolumeJudge {
  readonly #name: string
  readonly #users: VolumeUsers
  readonly #judged = new Map<string, Judged>()
  #state = beginning
  /** Not where the clock is set meanwhile. */
  isTimeRight = true
  recordsJudged = 0
  gaps = 0

  constructor(name: string, users: VolumeUsers) {
    this.#name = name
    this.#users = users
  }

  /** The capture goes on from there. */
  resume(cursor: Uint8Array): void {
    this.#state = cursor.length === 0 ? beginning : this.#of(cursor).after
  }

  take(batch: Batch): void {
    const { place } = decodeCursor(batch.cursor)
    if (place === undefined) throw this.#broken('a batch does not say where the journal stands')
    let state = this.#state
    let hole: { readonly since: number } | undefined
    const exactAt: (number | undefined)[] = []
    for (const { change, moment } of batch.changes) {
      if (change.kind === 'put') state = { ...beginning, begun: moment + 1, number: place.number }
      else if (change.kind === 'mark' && change.mark.type === 'suspect') state = { ...state, isSuspect: true }
      else if (change.kind === 'mark' && change.mark.type === 'complete') state = { ...state, isSuspect: false }
      else if (change.kind === 'mark' && change.mark.type === 'hole') {
        if (change.mark.reason === whyGap['all-in-doubt']) throw this.#broken("the log is not the journal's any more")
        hole = change.mark
      } else if (change.kind !== 'patch') {
        // Of the agent's own: after a gap the batch ends.
        hole = undefined
        state = this.#taken(change, state)
      }
      exactAt.push(state.begun !== undefined && !state.isSuspect && state.done === 0 ? state.number : undefined)
    }
    state = this.#skipped(state, place.number)
    if (state.number < place.number) state = this.#jumped(state, place.number, hole)
    if (state.number !== place.number || state.isSuspect !== (place.suspect !== undefined)) {
      throw this.#broken(`the journal says ${JSON.stringify(place)}, and holds ${JSON.stringify(state)}`)
    }
    this.#state = state
    this.#judged.set(Buffer.from(batch.cursor).toString('hex'), { after: state, exactAt })
  }

  get #isWhole(): boolean {
    return this.#state.begun !== undefined && !this.#state.isSuspect && this.#state.done === 0
  }

  /** Whether all that was asked for has been said. */
  get isAll(): boolean {
    return this.#isWhole && this.#skipped(this.#state, this.#users.last).number === this.#users.last
  }

  /** What has been said, for a person. */
  describe(): string {
    return `${JSON.stringify(this.#state)} of ${this.#users.last}`
  }

  /** After which record the disk is the volume at `at`; undefined where that is not claimed. */
  exactAt(line: Line, at: Sequence): number | undefined {
    const batch = line.batches.find((one) => lastOf(one) >= at)
    return batch && this.#of(batch.cursor).exactAt[at - batch.first]
  }

  /** Places of the marks that stand for flushes. */
  *flushes(line: Line): Generator<Sequence> {
    for (const { first, changes } of line.batches) {
      for (const [index, { change }] of changes.entries()) {
        if (change.kind === 'mark' && change.mark.type === 'flush') yield (first + index) as Sequence
      }
    }
  }

  /** The next change of the record that is under way; a write of several may begin anew. */
  #taken(change: Change, state: State): State {
    const { number, done } = this.#skipped(state, Infinity)
    const op = this.#users.ops[number]
    if (op === undefined) throw this.#broken(`a ${change.kind} that nobody asked for, after record ${number}`)
    const wanted = changesOf(op)
    const isAnew = !isSame(wanted[done], change) && done > 0
    const index = isAnew ? 0 : done
    if (!isSame(wanted[index], change)) {
      throw this.#broken(`record ${op.number} is a ${op.kind}, and came as ${describe(change)}`)
    }
    this.recordsJudged++
    return index + 1 < wanted.length ? { ...state, number, done: index + 1 } : { ...state, number: number + 1, done: 0 }
  }

  /** Over records that change nothing. */
  #skipped(state: State, upTo: number): State {
    let { number } = state
    for (let op = this.#users.ops[number]; op !== undefined && number < upTo; op = this.#users.ops[number]) {
      if (changesOf(op).length > 0) break
      number++
    }
    return { ...state, number }
  }

  #jumped(state: State, to: number, hole: { readonly since: number } | undefined): State {
    const missing = `records ${state.number + 1} to ${to} are not in the journal`
    if (hole === undefined || !state.isSuspect) throw this.#broken(`${missing}, and no hole says so`)
    const lost = this.#users.ops[state.number]
    const answered = lost && 'answered' in lost ? lost.answered : undefined
    if (this.isTimeRight && answered !== undefined && hole.since > Math.max(answered, state.begun ?? 0)) {
      throw this.#broken(`${missing}, the first was answered at ${answered}, and the hole begins at ${hole.since}`)
    }
    this.gaps++
    return { ...state, number: to, done: 0 }
  }

  #of(cursor: Uint8Array): Judged {
    const judged = this.#judged.get(Buffer.from(cursor).toString('hex'))
    if (judged === undefined) throw this.#broken('the journal ends with a batch that was never said')
    return judged
  }

  #broken(told: string): Broken {
    return new Broken(1, `${this.#name}: ${told}`)
  }
}

function changesOf(op: VolumeOp): Wanted[] {
  const flush: Wanted[] = 'isForced' in op && op.isForced ? [{ kind: 'flush' }] : []
  switch (op.kind) {
    case 'write': {
      const pieces: Wanted[] = []
      for (let from = 0; from < op.data.length; from += inlineBytesMax) {
        pieces.push({ kind: 'write', at: op.at + from, data: op.data.subarray(from, from + inlineBytesMax) })
      }
      return [...pieces, ...flush]
    }
    case 'zero':
    case 'trim':
      return [{ kind: 'zero', at: op.at, bytes: op.bytes }, ...flush]
    case 'flush':
      return [{ kind: 'flush' }]
    case 'mark':
      return [{ kind: 'mark', label: op.label }]
    case 'resize':
      return []
  }
}

function isSame(wanted: Wanted | undefined, change: Change): boolean {
  if (wanted === undefined) return false
  switch (wanted.kind) {
    case 'write':
      return change.kind === 'write' && change.at === wanted.at && Buffer.compare(change.data, wanted.data) === 0
    case 'zero':
      return change.kind === 'zero' && change.at === wanted.at && change.bytes === wanted.bytes
    case 'flush':
      return change.kind === 'mark' && change.mark.type === 'flush'
    case 'mark':
      return (
        change.kind === 'mark' &&
        change.mark.type === 'user' &&
        (wanted.label === undefined || change.mark.label === wanted.label)
      )
  }
}

const describe = (change: Change): string =>
  change.kind === 'mark' ? `mark ${change.mark.type}` : `${change.kind} ${'at' in change ? change.at : ''}`
