import assert from 'node:assert/strict'
import { systemClock } from '../../src/base/clock.ts'
import { isCode, TidemarkError } from '../../src/base/errors.ts'
import { NbdClient } from '../../src/nbd/client.ts'
import type { Seeded } from '../sim/random.ts'
import { until } from '../support/until.ts'

export const sectorBytes = 512
const lanes = 3
const workersOfLane = 4
const pauseMsMax = 40
const never = new AbortController().signal

/** A change that a user asked for. `sent` and `answered` count what this user saw, so that they order all of it. */
interface Change {
  readonly kind: 'write' | 'zero' | 'trim'
  readonly number: number
  readonly at: number
  readonly bytes: number
  readonly isForced: boolean
  readonly sent: number
  /** Infinity while nobody knows whether it was done. */
  answered: number
}

/** How far a state of the volume reaches in the order in which its user asked. */
export interface Reach {
  /** When the newest change that is in it was sent. */
  readonly newestSent: number
  /** When the oldest change that is not in it was answered. */
  readonly missingAnswered: number
  /** Changes whose answer said that they are durable, and that are not in it. */
  readonly missingForced: readonly number[]
}

/**
 * Users of a volume with several connections, who write numbered blocks, and know what was answered. What was not answered when a
 * connection is lost is sent again by the next one, as the kernel does; so nothing else goes to sectors that are under way.
 */
export class VolumeLoad {
  /** The volume, by what was answered. */
  readonly model: Buffer
  answeredCount = 0
  /** When the last flush that was answered had been sent: what was answered before is durable. */
  flushedSent = 0
  flushes = 0
  resent = 0
  /** Left by clients that were killed. */
  abandoned = 0
  readonly #random: Seeded
  readonly #socket: string
  readonly #changes: (Change | undefined)[] = [undefined]
  /** Of each sector, the changes in their order. */
  readonly #sectors: Change[][]
  readonly #initial: Buffer
  readonly #busy: Uint8Array
  readonly #lanes: Lane[]
  readonly #workers: Promise<void>[]
  #events = 0
  #inFlight = 0
  #isStopped = false
  #gate: PromiseWithResolvers<void> | undefined

  constructor(initial: Buffer, socket: string, random: Seeded) {
    this.#initial = initial
    this.model = Buffer.from(initial)
    this.#socket = socket
    this.#random = random
    const sectors = initial.length / sectorBytes
    this.#sectors = Array.from({ length: sectors }, () => [])
    this.#busy = new Uint8Array(sectors)
    this.#lanes = Array.from({ length: lanes }, () => new Lane(socket))
    this.#workers = this.#lanes.flatMap((lane) => Array.from({ length: workersOfLane }, () => this.#work(lane)))
    // Told by `stop`, and by whoever waits for answers.
    for (const worker of this.#workers) worker.catch(() => undefined)
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    this.resume()
    for (const lane of this.#lanes) lane.end()
    await Promise.all(this.#workers)
  }

  /** Until so many more have been answered. */
  async answers(count: number): Promise<void> {
    const wanted = this.answeredCount + count
    const enough = until(`${count} answers`, () => this.answeredCount >= wanted || this.#isStopped)
    await Promise.race([enough, Promise.all(this.#workers)])
    await enough
  }

  /** Everything is answered once it resolves, and nothing more is asked. */
  async pause(): Promise<void> {
    this.#gate ??= Promise.withResolvers<void>()
    const idle = until('all is answered', () => this.#inFlight === 0)
    await Promise.race([idle, Promise.all(this.#workers)])
    await idle
  }

  resume(): void {
    this.#gate?.resolve()
    this.#gate = undefined
  }

  /** Lost connections are not made again until `letIn`. */
  keepAway(): void {
    for (const lane of this.#lanes) lane.keepAway()
  }

  letIn(): void {
    for (const lane of this.#lanes) lane.letIn()
  }

  /**
   * Clients die over what they ask for next, and others come in their place: at random such that know what their predecessors were
   * about, or such that write anew.
   */
  async killClients(): Promise<void> {
    await Promise.all(this.#lanes.map((lane) => lane.dieOverNext(this.#random.chance(0.6))))
  }

  /** The whole volume, as a client of its own reads it as soon as it is served. */
  async read(): Promise<Buffer> {
    await using client = await connect(this.#socket, () => false)
    return await client.read(0, this.model.length)
  }

  /** Before anything is sent again: what was answered is there, and of what was not each request or nothing. */
  assertSurvived(content: Buffer): void {
    for (let sector = 0; sector < this.#sectors.length; sector++) {
      const found = at(content, sector)
      if (found.equals(at(this.model, sector))) continue
      const newest = this.#sectors[sector]?.at(-1)
      const mayBe = this.#busy[sector] === 1 && newest !== undefined && found.equals(contentOf(newest, sector))
      assert.ok(mayBe, `sector ${sector} is not what was answered last`)
    }
  }

  assertSame(content: Buffer, when: string): void {
    if (content.equals(this.model)) return
    const sector = this.#sectors.findIndex((_, index) => !at(content, index).equals(at(this.model, index)))
    const wanted = this.#sectors[sector]?.at(-1)
    const found = at(content, sector).readUInt32BE(0)
    assert.fail(`${when}: sector ${sector} has change ${found}, and not ${wanted?.kind} ${wanted?.number}`)
  }

  /** What of the changes is in a state. Fails where a sector holds what nobody wrote there. */
  reachOf(content: Buffer): Reach {
    let newestSent = 0
    let missingAnswered = Infinity
    const missingForced = new Set<number>()
    for (const [sector, changes] of this.#sectors.entries()) {
      const found = at(content, sector)
      const isInitial = found.equals(at(this.#initial, sector))
      const candidates = changes.flatMap((change, index) => (found.equals(contentOf(change, sector)) ? [index] : []))
      assert.ok(isInitial || candidates.length > 0, `sector ${sector} holds what nobody wrote there`)
      // Zeros do not say who wrote them: the earliest for what must be there, the last for what must not be missing.
      const earliest = isInitial ? undefined : changes[candidates[0] as number]
      newestSent = Math.max(newestSent, earliest?.sent ?? 0)
      for (const missing of changes.slice((candidates.at(-1) ?? -1) + 1)) {
        missingAnswered = Math.min(missingAnswered, missing.answered)
        if (missing.isForced && missing.answered < Infinity) missingForced.add(missing.number)
      }
    }
    return { newestSent, missingAnswered, missingForced: [...missingForced] }
  }

  async #work(lane: Lane): Promise<void> {
    while (!this.#isStopped) {
      await this.#gate?.promise
      this.#inFlight++
      if (this.#random.chance(0.15)) await this.#flush(lane)
      else await this.#change(lane)
      this.#inFlight--
      await systemClock.sleep(this.#random.integer(0, pauseMsMax))
    }
  }

  async #flush(lane: Lane): Promise<void> {
    const sent = ++this.#events
    if ((await this.#ask(lane, (client) => client.flush())) !== 'answered') return
    this.flushedSent = Math.max(this.flushedSent, sent)
    this.flushes++
  }

  async #change(lane: Lane): Promise<void> {
    const range = this.#freeRange()
    if (range === undefined) return
    const [first, count] = range
    this.#busy.fill(1, first, first + count)
    for (;;) {
      const change = this.#note(first, count)
      const outcome = await this.#ask(lane, (client) => send(client, change))
      if (outcome === 'stopped') return
      if (outcome === 'answered') {
        change.answered = ++this.#events
        for (let sector = first; sector < first + count; sector++) {
          contentOf(change, sector).copy(this.model, sector * sectorBytes)
        }
        break
      }
      this.abandoned++
    }
    this.#busy.fill(0, first, first + count)
  }

  #note(first: number, count: number): Change {
    const change: Change = {
      kind: this.#random.pick(['write', 'write', 'write', 'write', 'zero', 'trim'] as const),
      number: this.#changes.length,
      at: first * sectorBytes,
      bytes: count * sectorBytes,
      isForced: this.#random.chance(0.1),
      sent: ++this.#events,
      answered: Infinity,
    }
    this.#changes.push(change)
    for (let sector = first; sector < first + count; sector++) this.#sectors[sector]?.push(change)
    return change
  }

  /** First sector and count; none where all that were looked at are under way. */
  #freeRange(): readonly [number, number] | undefined {
    for (let tries = 0; tries < 10; tries++) {
      const first = this.#random.integer(0, this.#sectors.length - 1)
      const most = this.#random.chance(0.04) ? 600 : 16
      const count = Math.min(this.#random.integer(1, most), this.#sectors.length - first)
      if (this.#busy.subarray(first, first + count).every((busy) => busy === 0)) return [first, count]
    }
    return undefined
  }

  /** Until it is answered, or its client has been killed and nobody knows of it any more. */
  async #ask(lane: Lane, ask: (client: NbdClient) => Promise<void>): Promise<'answered' | 'abandoned' | 'stopped'> {
    for (;;) {
      const { client, life } = await lane.client()
      if (client === undefined) return 'stopped'
      try {
        const asked = ask(client)
        lane.asked()
        await asked
        this.answeredCount++
        return 'answered'
      } catch (error) {
        if (!isCode(error, 'unreachable')) throw error
        lane.lost(life)
        if (lane.hasForgotten(life)) return 'abandoned'
        this.resent++
      }
    }
  }
}

/** A place for one connection after the other. */
class Lane {
  readonly #socket: string
  #life = 0
  #client: Promise<NbdClient | undefined> | undefined
  readonly #forgotten = new Set<number>()
  #away: PromiseWithResolvers<void> | undefined
  #dying: PromiseWithResolvers<void> | undefined
  #isOver = false

  constructor(socket: string) {
    this.#socket = socket
  }

  /** None once it is over. */
  async client(): Promise<{ readonly client: NbdClient | undefined; readonly life: number }> {
    await this.#away?.promise
    if (this.#isOver) return { client: undefined, life: this.#life }
    this.#client ??= connect(this.#socket, () => this.#isOver).catch((error: unknown) => {
      if (this.#isOver) return undefined
      throw error
    })
    const life = this.#life
    return { client: await this.#client, life }
  }

  lost(life: number): void {
    if (life !== this.#life) return
    this.#life++
    this.#client = undefined
  }

  hasForgotten(life: number): boolean {
    return this.#forgotten.has(life)
  }

  /** Once something has been asked. */
  async dieOverNext(forgets: boolean): Promise<void> {
    this.#dying = Promise.withResolvers<void>()
    await this.#dying.promise
    if (forgets) this.#forgotten.add(this.#life)
    this.#destroy()
  }

  asked(): void {
    this.#dying?.resolve()
    this.#dying = undefined
  }

  keepAway(): void {
    this.#away ??= Promise.withResolvers<void>()
  }

  letIn(): void {
    this.#away?.resolve()
    this.#away = undefined
  }

  end(): void {
    this.#isOver = true
    this.letIn()
    this.asked()
    this.#destroy()
  }

  #destroy(): void {
    const gone = new TidemarkError('unreachable', { message: 'the client is killed' })
    this.#client?.then(
      (client) => client?.destroy(gone),
      // Told to whoever waits for it.
      () => undefined,
    )
  }
}

async function connect(path: string, isOver: () => boolean): Promise<NbdClient> {
  let found: NbdClient | undefined
  await until('the volume is served', async () => {
    if (isOver()) return true
    try {
      found = await NbdClient.connect({ at: { path } }, never)
      return true
    } catch (error) {
      if (!isCode(error, 'unreachable')) throw error
      return false
    }
  })
  assert.ok(found, 'it is over')
  return found
}

async function send(client: NbdClient, change: Change): Promise<void> {
  const { kind, at: from, bytes, isForced } = change
  if (kind === 'trim') return await client.trim(from, bytes, { isForced })
  if (kind === 'zero') return await client.zero(from, bytes, { isForced })
  const first = from / sectorBytes
  const sectors = Array.from({ length: bytes / sectorBytes }, (_, index) => contentOf(change, first + index))
  await client.write(from, Buffer.concat(sectors), { isForced })
}

const zeros = Buffer.alloc(sectorBytes)

/** What a change leaves in one of its sectors: it tells which change, and where. */
function contentOf({ kind, number }: Pick<Change, 'kind' | 'number'>, sector: number): Buffer {
  return kind === 'write' ? stamped(number, sector) : zeros
}

/** Number 0 is what was there before. */
export function stamped(number: number, sector: number): Buffer {
  const stamp = Buffer.alloc(12)
  stamp.writeUInt32BE(number, 0)
  stamp.writeUInt32BE(sector, 4)
  stamp.writeUInt32BE(Math.imul(number + 1, 0x9e37_79b1) >>> 0, 8)
  return Buffer.alloc(sectorBytes, stamp)
}

const at = (content: Buffer, sector: number): Buffer =>
  content.subarray(sector * sectorBytes, (sector + 1) * sectorBytes)
