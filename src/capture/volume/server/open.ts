import type { Clock } from '../../../base/clock.ts'
import { TidemarkError } from '../../../base/errors.ts'
import type { Random } from '../../../base/random.ts'
import type { RecordNumber } from '../../../format/volume-log.ts'
import { moment } from '../../../model/moment.ts'
import type { Problem } from '../../../model/report.ts'
import type { Id, VolumeSettings } from '../../../model/source.ts'
import type { VolumeFiles } from './files.ts'
import { History } from './history.ts'
import { defaultLimits, type VolumeLimits } from './limits.ts'
import { VolumeLog } from './log.ts'
import { PendingBlocks } from './pending.ts'
import { PlaceFile, type VolumePlace } from './place.ts'
import { recover } from './recovery.ts'
import { regionBytes } from './regions.ts'
import { noRoom } from './room.ts'
import { TouchedRegions } from './touched.ts'
import { UnsentBytes } from './unsent.ts'
import { historyDamaged } from './upkeep.ts'

export interface VolumeDiskParts {
  readonly files: VolumeFiles
  readonly clock: Clock
  readonly random: Random
  readonly volume: Id
  readonly name: string
  readonly settings: VolumeSettings
  readonly limits?: Partial<VolumeLimits>
  readonly told: {
    /** `durable` has grown. */
    durable(number: RecordNumber): void
    /** `epoch` has changed, and with it `first`. */
    epoch(): void
    /** Such a mark of a span in which flushes did not wait for the vault comes next in the log, of all that is asked from now on. */
    unprotected?(label: string): void
    /** The disk has failed for good and answers nothing but EIO: the process should end. */
    ended(error: unknown): void
  }
}

export interface OpenedVolume {
  readonly bytes: number
  readonly log: VolumeLog
  readonly history: History
  readonly pending: PendingBlocks
  readonly unsent: UnsentBytes
  readonly limits: VolumeLimits
  readonly problems: Map<string, Problem>
  close(): Promise<void>
}

/** Opens the log and the backing, brings the backing to the end of the log, and begins a new segment there. */
export async function openVolume(parts: VolumeDiskParts): Promise<OpenedVolume> {
  const { files, volume, random, clock } = parts
  const { backing } = files
  const limits = { ...defaultLimits, ...parts.limits }
  const { file, place, isInDoubt } = await PlaceFile.open(files.log)
  if (place !== undefined && place.volume !== volume) {
    throw new TidemarkError('damaged', {
      message: `the folder of the log belongs to volume ${place.volume}, not ${volume}`,
    })
  }
  const touched = await TouchedRegions.open(files.log, Math.ceil(backing.bytes / regionBytes))
  const log = new VolumeLog({ folder: files.log, volume, random, segmentBytes: limits.segmentBytes })
  const recovered = await recover({ files, log, volume, place, pendingMax: limits.pendingMax })
  if (backing.bytes < recovered.bytes) {
    throw new TidemarkError('damaged', {
      message: `the backing of volume ${parts.name} has ${backing.bytes} bytes, and had ${recovered.bytes}`,
      hint: 'A volume never shrinks; see to its backing.',
    })
  }

  const isNew = place === undefined && log.last === 0
  const epoch = place?.epoch ?? Math.max(recovered.epoch, Math.floor(clock.now() / 1_000_000))
  const begun: VolumePlace = place ?? {
    volume,
    epoch,
    first: log.last + 1,
    checkpoint: log.last,
    acknowledged: { epoch, number: log.last },
    synced: log.last,
    bytes: recovered.bytes,
    unprotectedSince: moment(0),
  }
  const history = new History({
    log,
    touched,
    file,
    place: {
      ...begun,
      // The place that is lost may have begun another epoch, which the vault knows: it is not begun again.
      epoch: isInDoubt ? Math.max(begun.epoch + 1, recovered.epoch) : begun.epoch,
      checkpoint: log.last,
      bytes: recovered.bytes,
    },
  })
  const problems = new Map<string, Problem>()
  if (isNew) await history.save()
  const lost =
    recovered.lostHistory ??
    (isInDoubt || (place === undefined && !isNew) ? 'where the volume stood is not known' : undefined)
  if (lost !== undefined) {
    problems.set('volume-log-damaged', historyDamaged(lost))
    await history.giveUpAll()
  } else {
    await history.save()
  }
  await log.adoptSpare()
  await history.recycle()
  if (!log.hasSpare && !(await log.makeSpare())) {
    await history.giveUp()
    await history.recycle()
    if (!log.hasSpare) throw noRoom()
  }
  if (backing.bytes > recovered.bytes) {
    log.append([{ kind: 'resize', bytes: backing.bytes }], { epoch: history.epoch, moment: moment(clock.now()) })
    await log.sync()
    history.resized(backing.bytes)
    await history.save()
  }
  const pending = new PendingBlocks(log.synced)
  const unsent = new UnsentBytes(recovered.adopted)
  return {
    bytes: backing.bytes,
    log,
    history,
    pending,
    unsent,
    limits,
    problems,
    close: async () => {
      await log.close()
      await touched.close()
      await file.close()
    },
  }
}
