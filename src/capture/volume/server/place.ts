import { crc32 } from 'node:zlib'
import { ByteReader, ByteWriter } from '../../../base/bytes.ts'
import type { VolumeLogFile, VolumeLogFolder } from '../../../format/volume-log-reader.ts'
import { type Moment, moment } from '../../../model/moment.ts'
import { type Id, isId } from '../../../model/source.ts'
import type { LogFile, LogFolder } from './files.ts'
import { orNoRoom, writeWhole } from './room.ts'

/**
 * Where a volume server stands: the file `place`, two slots of 512 bytes that are written in turn; the whole one with the higher count
 * counts. Numbers are big-endian.
 *    0   8  magic    "TIDEVPL1"
 *    8  16  volume   id of the source
 *   24   8  count    one more than the slot before
 *   32   8  epoch
 *   40   8  first    first record of the epoch
 *   48   8  checkpoint
 *   56   8  epoch of what is acknowledged
 *   64   8  number up to which it is
 *   72   8  synced   the log was synced up to this record
 *   80   8  bytes    size of the volume
 *   88   8  unprotected  since when flushes have not waited for the vault, in microseconds; 0 where the vault knows of all such times
 *   96   4  CRC-32 of all before
 */
export interface VolumePlace {
  readonly volume: Id
  readonly epoch: number
  readonly first: number
  /** The backing holds everything up to this record. */
  readonly checkpoint: number
  /** The vault holds everything up to this record of that epoch. */
  readonly acknowledged: { readonly epoch: number; readonly number: number }
  readonly synced: number
  readonly bytes: number
  /** 0: none that the vault does not know of. */
  readonly unprotectedSince: Moment
}

/** The first record that the vault may still want. */
export const wantedFrom = ({
  epoch,
  first,
  acknowledged,
}: Pick<VolumePlace, 'epoch' | 'first' | 'acknowledged'>): number =>
  acknowledged.epoch === epoch ? Math.max(first, acknowledged.number + 1) : first

const placeName = 'place'
const slotBytes = 512
const checkedBytes = 96
const magic = Buffer.from('TIDEVPL1', 'latin1')

export class PlaceFile {
  readonly #file: LogFile
  #count: number
  #last: Promise<unknown> = Promise.resolve()

  private constructor(file: LogFile, count: number) {
    this.#file = file
    this.#count = count
  }

  /** No place: the file is new, or no slot of it verifies. In doubt: one does not, and it may be the newer one. */
  static async open(
    folder: LogFolder,
  ): Promise<{ file: PlaceFile; place: VolumePlace | undefined; isInDoubt: boolean }> {
    const present = await folder.open(placeName)
    if (present === undefined) {
      const file = await createFile(folder)
      return { file: new PlaceFile(file, 0), place: undefined, isInDoubt: false }
    }
    const { newest, isInDoubt } = await readSlots(present)
    return { file: new PlaceFile(present, newest?.count ?? 0), place: newest?.place, isInDoubt }
  }

  /** Durable once this resolves; what was written before is, too. `no-space` leaves the other slot as it was, and is tried again in the same. */
  write(place: VolumePlace): Promise<void> {
    const done = this.#last.then(async () => {
      const count = this.#count + 1
      writeWhole(this.#file, encode(place, count), (count % 2) * slotBytes)
      await orNoRoom(() => this.#file.sync())
      this.#count = count
    })
    this.#last = done.catch(() => undefined)
    return done
  }

  async close(): Promise<void> {
    await this.#last
    await this.#file.close()
  }
}

/** As `PlaceFile.open` finds it, and nothing is made. */
export async function readPlace(folder: VolumeLogFolder): Promise<VolumePlace | undefined> {
  const file = await folder.open(placeName)
  if (file === undefined) return undefined
  try {
    return (await readSlots(file)).newest?.place
  } finally {
    await file.close()
  }
}

async function readSlots(file: VolumeLogFile): Promise<{ newest: Slot | undefined; isInDoubt: boolean }> {
  const bytes = Buffer.alloc(2 * slotBytes)
  for (let at = 0; at < bytes.length;) {
    const count = await file.read(bytes.subarray(at), at)
    if (count === 0) break
    at += count
  }
  const written = [bytes.subarray(0, slotBytes), bytes.subarray(slotBytes)].filter((slot) =>
    slot.some((byte) => byte > 0),
  )
  const slots = written.map(decode).filter((slot) => slot !== undefined)
  return {
    newest: slots.sort((one, other) => other.count - one.count)[0],
    isInDoubt: slots.length < written.length,
  }
}

const createFile = (folder: LogFolder): Promise<LogFile> =>
  orNoRoom(async () => {
    const file = await folder.create(placeName, 2 * slotBytes)
    writeWhole(file, Buffer.alloc(2 * slotBytes), 0)
    await file.sync()
    await folder.syncNames()
    return file
  })

function encode(place: VolumePlace, count: number): Buffer {
  const slot = new ByteWriter(slotBytes).raw(magic).raw(Buffer.from(place.volume, 'hex')).u64(count)
  slot.u64(place.epoch).u64(place.first).u64(place.checkpoint)
  slot.u64(place.acknowledged.epoch).u64(place.acknowledged.number).u64(place.synced).u64(place.bytes)
  slot.u64(place.unprotectedSince)
  const checksum = crc32(slot.finish())
  slot.u32(checksum)
  return slot.raw(Buffer.alloc(slotBytes - slot.length)).finish()
}

interface Slot {
  readonly place: VolumePlace
  readonly count: number
}

function decode(slot: Buffer): Slot | undefined {
  if (!slot.subarray(0, magic.length).equals(magic)) return undefined
  if (slot.readUInt32BE(checkedBytes) !== crc32(slot.subarray(0, checkedBytes))) return undefined
  const reader = new ByteReader(slot, magic.length)
  const volume = reader.raw(16).toString('hex')
  if (!isId(volume)) return undefined
  const count = reader.u64()
  const [epoch, first, checkpoint] = [reader.u64(), reader.u64(), reader.u64()]
  const acknowledged = { epoch: reader.u64(), number: reader.u64() }
  const [synced, bytes, unprotectedSince] = [reader.u64(), reader.u64(), moment(reader.u64())]
  return { place: { volume, epoch, first, checkpoint, acknowledged, synced, bytes, unprotectedSince }, count }
}
