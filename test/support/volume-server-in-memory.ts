import assert from 'node:assert/strict'
import type { Clock } from '../../src/base/clock.ts'
import { Wake } from '../../src/base/wake.ts'
import type { FromVolumeServer, ToVolumeServer } from '../../src/capture/volume/control.ts'
import type { ServerLink, VolumeFacts } from '../../src/capture/volume/server-link.ts'
import type { RecordNumber, VolumeRecord } from '../../src/format/volume-log.ts'
import { moment } from '../../src/model/moment.ts'
import type { Seeded } from '../sim/random.ts'

const regionBytes = 128 * 1024
const longestWrite = 300 * 1024
const hotBytes = 192 * 1024
/** Regions told in one answer. */
const regionsTold = 3

/** Puts what one record does onto a volume's bytes. */
export function applyRecord(volume: Buffer<ArrayBuffer>, record: VolumeRecord): Buffer<ArrayBuffer> {
  switch (record.kind) {
    case 'write':
      volume.set(record.data, record.at)
      return volume
    case 'zero':
    case 'trim':
      volume.fill(0, record.at, record.at + record.bytes)
      return volume
    case 'resize':
      return Buffer.concat([volume, Buffer.alloc(record.bytes - volume.length)])
    default:
      return volume
  }
}

/**
 * A volume server in memory with a volume that is written at random: what is written is visible at once, durable later, and
 * may be lost with a power cut until then. `history` holds every record that was not lost, the first with number 1.
 */
export class VolumeServerInMemory {
  readonly history: VolumeRecord[] = []
  readonly initial: Buffer<ArrayBuffer>
  readonly touched = new Set<number>()
  readonly #random: Seeded
  readonly #clock: Clock
  #visible: Buffer<ArrayBuffer>
  #durable = 0
  #epoch = 1000
  #first = 1
  #acknowledged = { epoch: 1000, number: 0 }
  /** The last record that was given up. */
  #lost = 0
  #link: LinkInMemory | undefined

  constructor(random: Seeded, clock: Clock, bytes: number) {
    this.#random = random
    this.#clock = clock
    this.initial = Buffer.alloc(bytes)
    for (let at = 0; at < bytes; at += regionBytes) {
      if (random.chance(0.5)) this.initial.set(this.#bytes(20_000).subarray(0, bytes - at), at)
    }
    this.#visible = Buffer.from(this.initial)
  }

  get last(): number {
    return this.history.length
  }

  get bytes(): number {
    return this.#visible.length
  }

  // Who uses the volume

  write(): void {
    const random = this.#random
    const at = random.integer(0, (random.chance(0.5) ? hotBytes : this.bytes) - 2)
    const bytes = random.integer(1, Math.min(this.bytes - at, random.chance(0.1) ? longestWrite : 9000))
    const isForced = random.chance(0.1)
    const kind = random.pick(['write', 'write', 'write', 'write', 'zero', 'trim', 'flush'] as const)
    if (kind === 'write') this.#happen({ kind, at, data: this.#bytes(bytes), isForced })
    else if (kind === 'flush') this.#happen({ kind })
    else this.#happen({ kind, at, bytes, isForced })
  }

  writeAt(at: number, data: Uint8Array): void {
    this.#happen({ kind: 'write', at, data, isForced: false })
  }

  grow(bytes: number): void {
    this.#happen({ kind: 'resize', bytes: this.bytes + bytes })
    // A disk that was made larger stays so, whatever its machine does.
    this.#durable = this.last
    this.#link?.say({ kind: 'durable', epoch: this.#epoch, number: this.#durable })
  }

  // What happens to the server

  /** Some of what is not durable becomes so. */
  sync(): void {
    if (this.#durable === this.last) return
    this.#durable += Math.ceil(this.#random.fraction() * (this.last - this.#durable))
    this.#link?.say({ kind: 'durable', epoch: this.#epoch, number: this.#durable })
  }

  /** Killed, or its machine with it: then what is not durable never was. */
  die(withMachine: boolean): void {
    this.#link?.end()
    if (!withMachine) return void (this.#durable = this.last)
    this.history.length = this.#durable
    this.#visible = this.at(this.#durable)
  }

  /** History is given up: what was written and not acknowledged is only noted as touched. */
  giveUp(): void {
    this.#durable = this.last
    for (const record of this.history.slice(this.#acknowledged.number)) {
      for (const region of regionsOf(record)) this.touched.add(region)
    }
    this.#lost = this.last
    this.#first = this.last + 1
    this.#epoch++
    this.#link?.say(this.#facts())
  }

  /** Its machine is put back to a snapshot in which it was at record `number`. */
  revert(number: number): void {
    this.#link?.end()
    this.history.length = number
    this.#durable = number
    this.#visible = this.at(number)
    const { epoch } = this.#acknowledged
    this.#acknowledged = { epoch, number: Math.min(number, this.#acknowledged.number) }
    this.#first = Math.min(this.#first, this.#acknowledged.number + 1)
  }

  /** Somebody removed its log: a new one begins, and knows of nothing before. */
  loseLog(): void {
    this.#durable = this.last
    this.#first = this.last + 1
    this.#epoch += 1000
    this.#acknowledged = { epoch: this.#epoch, number: this.last }
    this.#lost = this.last
    this.touched.clear()
    this.#link?.end()
  }

  /** The volume as it stood after record `number`. */
  at(number: number): Buffer<ArrayBuffer> {
    let volume = Buffer.from(this.initial)
    for (const record of this.history.slice(0, number)) volume = applyRecord(volume, record)
    return volume
  }

  // Its side of a conversation

  open(): LinkInMemory {
    this.#link?.end()
    this.#link = new LinkInMemory(this, this.#facts(), this.#random)
    this.#link.say({ kind: 'durable', epoch: this.#epoch, number: this.#durable })
    return this.#link
  }

  told(message: ToVolumeServer): void {
    const link = this.#link
    switch (message.kind) {
      case 'acknowledged':
        return this.#acknowledge(message)
      case 'ask-place':
        return link?.say({ kind: 'place', tag: message.tag, epoch: this.#epoch, number: this.last })
      case 'ask-touched': {
        const all = [...this.touched].filter((region) => region >= message.from).toSorted((one, other) => one - other)
        const next = all[regionsTold]
        const regions = all.slice(0, regionsTold)
        return link?.say({ kind: 'touched', tag: message.tag, regions, ...(next === undefined ? {} : { next }) })
      }
      case 'healed':
        if (message.number >= this.#lost) for (const region of message.regions) this.touched.delete(region)
        return
      case 'mark':
        this.#happen({ kind: 'mark', tag: message.tag, label: message.label })
        return link?.say({ kind: 'marked', tag: message.tag, number: this.last })
      default:
    }
  }

  #acknowledge({ epoch, number }: { epoch: number; number: number }): void {
    assert.ok(epoch <= this.#epoch)
    if (epoch !== this.#epoch) return
    assert.ok(number <= this.#durable, 'only what is durable can be at the vault')
    assert.ok(number >= this.#acknowledged.number)
    this.#acknowledged = { epoch, number }
    this.#first = Math.max(this.#first, number + 1 - this.#random.integer(0, 20))
  }

  /** Each byte as it is at some moment while it is read. */
  async read(at: number, bytes: number): Promise<Uint8Array> {
    const read = Buffer.alloc(bytes)
    const piece = 60_000
    for (let from = 0; from < bytes; from += piece) {
      this.#visible.copy(read, from, at + from, Math.min(at + from + piece, at + bytes))
      await pause(this.#random)
    }
    return read
  }

  isZeros(at: number, bytes: number): boolean {
    return this.#visible.subarray(at, at + bytes).every((byte) => byte === 0)
  }

  records(after: number, upTo: number): VolumeRecord[] {
    assert.ok(upTo <= this.#durable, 'only what is durable is read')
    if (after + 1 < this.#first) throw new Error('the log is gone')
    return this.history
      .slice(after, upTo)
      .map((record) => (record.kind === 'write' ? { ...record, data: Uint8Array.from(record.data) } : record))
  }

  #happen(what: { kind: VolumeRecord['kind'] } & Record<string, unknown>): void {
    const number = (this.last + 1) as RecordNumber
    const record = { ...what, number, moment: moment(this.#clock.now()) } as VolumeRecord
    this.history.push(record)
    this.#visible = applyRecord(this.#visible, record)
  }

  #facts(): VolumeFacts {
    const epoch = this.#epoch
    const acknowledged = this.#acknowledged
    const first = this.#first
    return { kind: 'volume', epoch, bytes: this.bytes, regionBytes, first, acknowledged, software: 'in memory' }
  }

  /** Never zero. */
  #bytes(count: number): Buffer {
    return Buffer.alloc(
      count,
      Uint8Array.from(this.#random.bytes(61), (byte) => byte | 1),
    )
  }
}

function* regionsOf(record: VolumeRecord): Generator<number> {
  if (record.kind !== 'write' && record.kind !== 'zero' && record.kind !== 'trim') return
  const bytes = record.kind === 'write' ? record.data.length : record.bytes
  for (let at = record.at - (record.at % regionBytes); at < record.at + bytes; at += regionBytes) yield at / regionBytes
}

/** A few turns of the loop. */
export async function pause(random: Seeded): Promise<void> {
  for (let turns = random.integer(0, 3); turns > 0; turns--) await turn()
}

export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

class LinkInMemory implements ServerLink {
  readonly volume: VolumeFacts
  readonly messages: AsyncIterable<FromVolumeServer> = { [Symbol.asyncIterator]: () => this.#messages() }
  readonly #server: VolumeServerInMemory
  readonly #random: Seeded
  #said: FromVolumeServer[] = []
  readonly #wake = new Wake()
  readonly #over = new AbortController()

  constructor(server: VolumeServerInMemory, volume: VolumeFacts, random: Seeded) {
    this.#server = server
    this.volume = volume
    this.#random = random
  }

  async *#messages(): AsyncGenerator<FromVolumeServer> {
    for (;;) {
      await pause(this.#random)
      const message = await this.#wake.until(() => this.#said.shift(), this.#over.signal).catch(() => undefined)
      if (message === undefined || this.#over.signal.aborted) return
      yield message
    }
  }

  say(message: FromVolumeServer): void {
    if (message.kind === 'durable') this.#said = this.#said.filter(({ kind }) => kind !== 'durable')
    this.#said.push(message)
    this.#wake.wake()
  }

  end(): void {
    this.#over.abort(new Error('the conversation is over'))
  }

  tell(message: ToVolumeServer): void {
    if (!this.#over.signal.aborted) this.#server.told(message)
  }

  async read(at: number, bytes: number): Promise<Uint8Array> {
    await pause(this.#random)
    const read = await this.#server.read(at, bytes)
    this.#over.signal.throwIfAborted()
    await pause(this.#random)
    return read
  }

  async isZeros(at: number, bytes: number): Promise<boolean> {
    this.#over.signal.throwIfAborted()
    const found = this.#server.isZeros(at, bytes)
    await pause(this.#random)
    return found
  }

  async *records(after: number, upTo: number): AsyncGenerator<readonly VolumeRecord[]> {
    for (let at = after; at < upTo;) {
      this.#over.signal.throwIfAborted()
      const group = this.#server.records(at, Math.min(upTo, at + this.#random.integer(1, 5)))
      at += group.length
      await pause(this.#random)
      yield group
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.end()
  }
}
