import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { systemClock } from '../../../base/clock.ts'
import { isCode, TidemarkError } from '../../../base/errors.ts'
import type { FollowFrame } from '../../../format/follow.ts'
import { baselinesPath, encodeBaseline, historyPath, walPath } from '../../../format/postgres-tree.ts'
import type { Change } from '../../../model/change.ts'
import { advanceLsn, type Lsn, lsn, timeline } from '../../../model/lsn.ts'
import { moment } from '../../../model/moment.ts'
import { nameOf, parentOf, type TreePath } from '../../../model/path.ts'
import { type Sequence, sequence } from '../../../model/sequence.ts'
import type { TreeReader } from '../../../postgres-past/tree-reader.ts'
import { JournalWal } from './journal-wal.ts'

const segmentBytes = 1024 * 1024
/** Numbers in [0, 1), the same in every run. */
let state = 7
const chance = (): number => (state = (state * 48_271) % 0x7fff_ffff) / 0x7fff_ffff
const start = lsn(3 * segmentBytes)
const one = timeline(1)
const two = timeline(2)
const forever = new AbortController().signal
const baseline = (systemId: string) => ({
  number: 1,
  sequence: 1,
  systemId,
  timeline: 1,
  start,
  end: start,
  version: 170_010,
  segmentBytes,
  files: 0,
  bytes: 0,
  tablespaces: [],
  properties: {},
})

/** A journal whose line may be cut: what is asked of it is answered by playing its changes again from the first. */
class Played implements TreeReader {
  readonly changes: Change[] = []
  readonly #waiting = new Set<() => void>()
  isCut = false

  constructor() {
    this.append({ kind: 'write', path: baselinesPath, at: 0, data: encodeBaseline(baseline('7311')) })
  }

  append(...changes: Change[]): void {
    this.changes.push(...changes)
    for (const wake of this.#waiting) wake()
  }

  /** WAL cut into changes as a capture does it. */
  wal(on: typeof one, from: Lsn, bytes: Buffer): void {
    for (let done = 0; done < bytes.length;) {
      const at = advanceLsn(from, done)
      const count = Math.min(bytes.length - done, 1 + Math.floor(chance() * 65_536), segmentBytes - (at % segmentBytes))
      const path = walPath(on, at, segmentBytes)
      this.append({ kind: 'write', path, at: at % segmentBytes, data: bytes.subarray(done, done + count) })
      done += count
    }
  }

  cut(): void {
    this.isCut = true
    for (const wake of this.#waiting) wake()
  }

  #tree(at: Sequence): Map<TreePath, Buffer> {
    const tree = new Map<TreePath, Buffer>()
    for (const change of this.changes.slice(0, at)) {
      if (change.kind === 'remove') tree.delete(change.path)
      if (change.kind !== 'write') continue
      const before = tree.get(change.path) ?? Buffer.alloc(0)
      const file = Buffer.alloc(Math.max(before.length, change.at + change.data.length))
      before.copy(file)
      file.set(change.data, change.at)
      tree.set(change.path, file)
    }
    return tree
  }

  async resolve() {
    return { at: sequence(this.changes.length), moment: moment(0) }
  }

  async list(folder: TreePath, at: Sequence) {
    return Array.from(this.#tree(at))
      .filter(([path]) => parentOf(path) === folder)
      .map(([path, { length: bytes }]) => ({ name: nameOf(path) as string, bytes }))
  }

  async *read(path: TreePath, at: Sequence, range?: { from: number; bytes: number }) {
    if (this.isCut) throw new TidemarkError('unreachable', { message: 'cut' })
    const file = this.#tree(at).get(path)
    if (file === undefined) throw new TidemarkError('not-found', { message: path })
    const bytes = range ? file.subarray(range.from, range.from + range.bytes) : file
    yield bytes.subarray(0, bytes.length >> 1)
    if (this.isCut) throw new TidemarkError('unreachable', { message: 'cut' })
    yield bytes.subarray(bytes.length >> 1)
  }

  async *follow(after: Sequence, signal: AbortSignal): AsyncGenerator<Exclude<FollowFrame, { kind: 'end' }>> {
    for (let told: number = after; ;) {
      if (this.isCut) {
        this.isCut = false
        throw new TidemarkError('unreachable', { message: 'cut' })
      }
      signal.throwIfAborted()
      const through = sequence(this.changes.length)
      if (told < through) {
        const changes = this.changes
          .slice(told, through)
          .map((change, index) => ({ sequence: sequence(told + index + 1), moment: moment(0), change }))
        told = through
        yield { kind: 'changes', through, settled: true, received: moment(0), cursor: Buffer.alloc(0), changes }
      } else {
        await new Promise<void>((resolve) => {
          this.#waiting.add(resolve)
          signal.addEventListener('abort', () => resolve(), { once: true })
        })
      }
    }
  }
}

const open = (journal: Played): Promise<JournalWal> =>
  JournalWal.open({ tree: journal, follow: (after, signal) => journal.follow(after, signal), clock: systemClock })

/** Reads until `bytes` bytes are there, or to the end of the timeline. */
async function take(wal: JournalWal, on: typeof one, from: Lsn, bytes = Infinity): Promise<Buffer> {
  const pieces: Buffer[] = []
  let count = 0
  for await (const piece of wal.read(on, from, forever)) {
    pieces.push(Buffer.from(piece))
    count += piece.length
    if (count >= bytes) break
  }
  return Buffer.concat(pieces)
}

test('every reader gets every byte once, wherever it begins and however often the line is cut', async () => {
  const journal = new Played()
  const all = randomBytes(5 * segmentBytes + 12_345)
  journal.wal(one, start, all.subarray(0, segmentBytes + 700))
  await using wal = await open(journal)
  const places = [0, 1, 700, segmentBytes, segmentBytes + 700]
  const readers = places.map((at) => take(wal, one, advanceLsn(start, at), all.length - at))
  for (let at = segmentBytes + 700; at < all.length;) {
    const count = Math.min(all.length - at, 200_000)
    journal.wal(one, advanceLsn(start, at), all.subarray(at, at + count))
    at += count
    if (chance() < 0.3) journal.cut()
    await systemClock.sleep(1)
  }
  for (const [index, reader] of readers.entries()) assert.ok((await reader).equals(all.subarray(places[index])))
  assert.ok((await take(wal, one, start, all.length)).equals(all), 'one that comes late')
  assert.deepEqual(wal.newest(), { timeline: 1, end: advanceLsn(start, all.length) })
})

test('a timeline ends where the newest history left it, and the next one is there from the start of its segment on', async () => {
  const journal = new Played()
  const old = randomBytes(segmentBytes + 5000)
  journal.wal(one, start, old)
  await using wal = await open(journal)
  const reading = take(wal, one, start)
  const leftAt = advanceLsn(start, segmentBytes + 4000)
  const history = Buffer.from(`1\t0/${leftAt.toString(16).toUpperCase()}\tno recovery target specified\n`)
  journal.append({ kind: 'write', path: historyPath(two), at: 0, data: history })
  assert.ok(
    (await reading).equals(old.subarray(0, segmentBytes + 4000)),
    'the surplus of the old branch is not given out',
  )
  const next = randomBytes(6000)
  const from = advanceLsn(start, segmentBytes)
  assert.deepEqual(wal.newest(), { timeline: 2, end: leftAt })
  const coming = take(wal, two, from, next.length)
  journal.wal(two, from, next)
  assert.ok((await coming).equals(next))
  assert.deepEqual(await wal.history(two), history)
  await assert.rejects(take(wal, one, advanceLsn(leftAt, 1)), (error) => isCode(error, 'database-log-gap'))
  await assert.rejects(take(wal, timeline(7), start), (error) => isCode(error, 'database-log-gap'))
})

test('WAL that a newer baseline has removed is read from before; WAL that is missing is an error, not a wait', async () => {
  const journal = new Played()
  const all = randomBytes(3 * segmentBytes)
  journal.wal(one, start, all)
  await using wal = await open(journal)
  journal.append({ kind: 'remove', path: walPath(one, start, segmentBytes) })
  while (wal.through < journal.changes.length) await systemClock.sleep(1)
  assert.ok((await take(wal, one, start, all.length)).equals(all))
  await assert.rejects(take(wal, one, lsn(segmentBytes)), (error) => isCode(error, 'database-log-gap'))
  const gap = advanceLsn(start, 5 * segmentBytes)
  journal.wal(one, gap, randomBytes(100))
  await assert.rejects(take(wal, one, start), /has already been removed/)
})

test('what becomes durable after the freeze is given to nobody', async () => {
  const journal = new Played()
  const all = randomBytes(100_000)
  journal.wal(one, start, all.subarray(0, 50_000))
  await using wal = await open(journal)
  journal.wal(one, advanceLsn(start, 50_000), all.subarray(50_000))
  assert.deepEqual(await wal.freeze(forever), { timeline: 1, end: advanceLsn(start, all.length) })
  journal.wal(one, advanceLsn(start, all.length), randomBytes(1000))
  await systemClock.sleep(20)
  assert.equal(wal.newest().end, advanceLsn(start, all.length))
  assert.ok((await take(wal, one, start, all.length)).equals(all))
})

test('a source that is another cluster now is followed no farther', async () => {
  const journal = new Played()
  journal.wal(one, start, randomBytes(1000))
  await using wal = await open(journal)
  const reading = take(wal, one, start)
  const lines = Buffer.concat([encodeBaseline(baseline('7311')), encodeBaseline(baseline('9999'))])
  journal.append({ kind: 'write', path: baselinesPath, at: 0, data: lines })
  await assert.rejects(reading, /another cluster now/)
})
