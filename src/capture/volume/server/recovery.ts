import { isCode, TidemarkError } from '../../../base/errors.ts'
import {
  formatSegmentName,
  parseSegmentName,
  type RecordNumber,
  type VolumeRecord,
} from '../../../format/volume-log.ts'
import { damagedLog, SegmentReader } from '../../../format/volume-log-reader.ts'
import type { Id } from '../../../model/source.ts'
import { applyLayer } from './applier.ts'
import { BlockLayer } from './block-layer.ts'
import type { LogFile, VolumeFiles } from './files.ts'
import { VolumeLog } from './log.ts'
import { type VolumePlace, wantedFrom } from './place.ts'
import { SegmentRegions } from './regions.ts'

export interface RecoveryParts {
  readonly files: VolumeFiles
  readonly log: VolumeLog
  readonly volume: Id
  /** Undefined: it is not known, and everything that is in the log is written to the backing again. */
  readonly place: VolumePlace | undefined
  /** Blocks that may be pending at once. */
  readonly pendingMax: number
}

export interface Recovered {
  /** The volume's size by place and log; 0 of a new one. */
  readonly bytes: number
  /** Of the segments that are there. */
  readonly epoch: number
  /** What it adopted of the log: the last record of each segment, and how much of it is in use. */
  readonly adopted: readonly { readonly last: number; readonly bytes: number }[]
  /** Part of what the vault has not got is damaged: the history before is given up. The backing is whole. */
  readonly lostHistory: string | undefined
}

/**
 * Brings the backing to the end of the log after whatever ended the server before. A torn tail is cut by the segment that begins there;
 * damage before the tail is an error where the backing needs those records, since then no state that the volume ever had can be made.
 */
export async function recover(parts: RecoveryParts): Promise<Recovered> {
  const { files, log, volume, place } = parts
  const { segments, useless } = await findSegments(parts)
  const [oldest] = segments
  const checkpoint = place?.checkpoint ?? (oldest?.first ?? 1) - 1
  if (oldest !== undefined && oldest.first > checkpoint + 1) {
    throw unusable(formatSegmentName(oldest.first), 'segments before it are gone')
  }

  // What a killed server left may be in the memory of the system alone: before any of it is applied it is durable, names and all.
  await files.log.syncNames()
  const replay = new Replay(parts, checkpoint)
  let last = Math.max(checkpoint, (oldest?.first ?? 1) - 1)
  const adopted: { last: number; bytes: number }[] = []
  let cutAt = segments.length
  for (const [index, segment] of segments.entries()) {
    const after = segments[index + 1]?.first ?? Number.POSITIVE_INFINITY
    if (after <= checkpoint + 1) {
      log.adopt(segment.first, segment.file, undefined)
      adopted.push({ last: after - 1, bytes: segment.file.bytes })
      continue
    }
    if (segment.first > last + 1) {
      cutAt = index
      break
    }
    await segment.file.sync()
    last = await replay.segment(segment, after - 1)
    adopted.push({ last, bytes: replay.usedBytes })
    if (last + 1 < after) {
      // One without a record gives its name to the one that goes on.
      const isEmpty = last < segment.first
      if (isEmpty) log.disown()
      cutAt = isEmpty ? index : index + 1
      break
    }
  }
  const synced = Math.max(
    place?.synced ?? 0,
    replay.synced,
    ...(await Promise.all(segments.slice(cutAt).map(syncedIn(files)))),
  )
  if (synced > last)
    throw unusable(replay.name, `record ${last + 1} does not verify, and the log was durable up to ${synced}`)
  for (const name of useless) await files.log.remove(name)
  for (const { file, first } of segments.slice(cutAt)) {
    await file.close()
    await files.log.remove(formatSegmentName(first))
  }
  log.goOnAfter(last)
  await files.log.syncNames()
  await replay.apply()
  await files.backing.sync()
  const isLost = oldest !== undefined && place !== undefined && oldest.first > wantedFrom(place)
  return {
    bytes: Math.max(place?.bytes ?? 0, replay.bytes),
    epoch: Math.max(0, ...segments.map(({ epoch }) => epoch)),
    adopted,
    lostHistory: replay.lostHistory ?? (isLost ? `records from ${wantedFrom(place)} on are gone` : undefined),
  }

  function unusable(name: string, what: string): TidemarkError {
    return new TidemarkError('damaged', {
      message: `the log of volume ${volume} cannot bring the backing to a state that the volume had: ${name}: ${what}`,
      hint: 'Restore the volume from the vault to its latest point; the backing and the log are left as they are.',
    })
  }
}

interface FoundSegment {
  readonly first: RecordNumber
  readonly epoch: number
  readonly file: LogFile
}

/**
 * Those that may hold something of use, ascending. The names of others are useless, as a power cut leaves those that had been given anew;
 * if it turns out that nothing is missed. Else one of them may be a segment whose header is damaged, and all that is left of it.
 */
async function findSegments({
  files,
  volume,
  place,
}: RecoveryParts): Promise<{ readonly segments: FoundSegment[]; readonly useless: readonly string[] }> {
  const names = await files.log.names()
  const firsts = names.map(parseSegmentName).filter((first) => first !== undefined)
  const segments: FoundSegment[] = []
  const useless: string[] = []
  for (const first of firsts.sort((one, other) => one - other)) {
    const header = await headerOf(files, first)
    const file = await files.log.open(formatSegmentName(first))
    if (file === undefined) continue
    if (header?.first === first && header.volume === volume) segments.push({ first, epoch: header.epoch, file })
    else {
      await file.close()
      useless.push(formatSegmentName(first))
    }
  }
  if (place === undefined) return { segments, useless }
  const from = Math.min(place.checkpoint + 1, wantedFrom(place))
  const kept = segments.findLastIndex(({ first }) => first <= from)
  for (const { first, file } of segments.splice(0, Math.max(0, kept))) {
    await file.close()
    await files.log.remove(formatSegmentName(first))
  }
  return { segments, useless }
}

async function headerOf({ log }: VolumeFiles, first: RecordNumber) {
  try {
    await using segment = await SegmentReader.open(log, first)
    return segment?.header
  } catch (error) {
    if (isCode(error, 'damaged')) return undefined
    throw error
  }
}

const syncedIn =
  ({ log }: VolumeFiles) =>
  async ({ first }: FoundSegment): Promise<number> => {
    await using reader = await SegmentReader.open(log, first)
    return (await reader?.syncedBehind()) ?? 0
  }

class Replay {
  readonly #parts: RecoveryParts
  readonly #checkpoint: number
  readonly #layer = new BlockLayer()
  /** As some record says. */
  synced = 0
  bytes = 0
  /** Of the segment that was read last. */
  usedBytes = 0
  name = ''
  lostHistory: string | undefined

  constructor(parts: RecoveryParts, checkpoint: number) {
    this.#parts = parts
    this.#checkpoint = checkpoint
  }

  /** The last record of the segment up to which it is whole. */
  async segment({ first, file }: FoundSegment, upTo: number): Promise<number> {
    const { files, log, pendingMax } = this.#parts
    const reader = await SegmentReader.open(files.log, first)
    if (reader === undefined) throw damagedLog(formatSegmentName(first), 0, 'it was there a moment ago')
    await using open = reader
    this.name = open.name
    this.usedBytes = 0
    const regions = new SegmentRegions()
    const segment = log.adopt(first, file, regions)
    let last = first - 1
    const payloads: { readonly record: VolumeRecord; readonly position: number }[] = []
    for (;;) {
      const records = await open.read(last + 1, upTo, ({ record, bytes }, position) => {
        const payload = record.kind === 'write' ? record.data.length : 0
        payloads.push({ record, position: position + bytes - payload })
        this.usedBytes = position + bytes
      })
      for (const { record, position } of payloads.splice(0)) {
        regions.add(record)
        if (record.number > this.#checkpoint) this.#add(record, VolumeLog.addressOf(segment, position))
      }
      if (this.#layer.weight > pendingMax / 2) await this.apply()
      this.synced = Math.max(this.synced, open.synced)
      if (records.length > 0) last += records.length
      else if (last < this.#checkpoint && (await open.find((this.#checkpoint + 1) as RecordNumber))) {
        // What the backing has already: only history is lost.
        this.#loseHistory(`${open.name} is damaged before record ${this.#checkpoint + 1}`)
        segment.regions = undefined
        last = this.#checkpoint
      } else break
    }
    if (last < upTo) this.synced = Math.max(this.synced, await open.syncedBehind())
    if (last < this.#checkpoint) this.#loseHistory(`${open.name} is damaged at record ${last + 1}`)
    regions.seal()
    return Math.max(last, this.#checkpoint)
  }

  #loseHistory(what: string): void {
    this.lostHistory ??= what
  }

  #add(record: VolumeRecord, address: number): void {
    if (record.kind === 'write') this.#layer.write(record.at, record.data.length, address)
    else if (record.kind === 'zero' || record.kind === 'trim') this.#layer.zero(record.at, record.bytes)
    else if (record.kind === 'resize') this.bytes = record.bytes
  }

  async apply(): Promise<void> {
    const { log, files } = this.#parts
    while (!this.#layer.isEmpty) await applyLayer(this.#layer, { log, backing: files.backing })
  }
}
