import { ByteReader, ByteWriter, Malformed } from '../../base/bytes.ts'
import { TidemarkError } from '../../base/errors.ts'
import { type SuspectReason, suspectReasons } from '../../model/change.ts'
import { type Moment, moment } from '../../model/moment.ts'

/**
 * What a batch of kind `volume` says of where the capture stood: all it takes to go on, on any machine.
 *
 *   u8 version 3
 *   varint moment of the last change
 *   u32 session, at random: two batches of different content never have the same cursor
 *   u8 1 where something follows: the journal has its file
 *   varint epoch, varint number of the last record in the journal
 *   varint bytes of the volume
 *   u8 0, or why the journal is suspect: 1 + its place in suspectReasons
 *   u8 copy  0 none  1 under way  2 under way, onto zeros;  varint up to where it has come
 *   varint moment at which everything was last begun to be copied or compared; not in version 1
 *   varint moment of that last record as the log has it, 0 where it has not come from the log; not before version 3
 *   varint moment since when the mirror that the volume is a leg of goes on without it, 0 where it does not; not before version 3
 */
export interface Cursor {
  readonly moment: Moment
  readonly session: number
  readonly place: Place | undefined
}

/** A record of a log. */
export interface LogPlace {
  readonly epoch: number
  readonly number: number
}

/** What the journal holds. */
export interface Place extends LogPlace {
  readonly bytes: number
  readonly suspect: SuspectReason | undefined
  readonly copy: Copy | undefined
  /** When a copy of everything was begun last, by the clock of this machine. */
  readonly compared: Moment
  /** Moment of the record, as the log has it; 0 where the journal has none of it. Another log may have another record of that number. */
  readonly recorded: Moment
  /** Since when the mirror goes on without this leg; 0 where it does not. */
  readonly awaySince: Moment
}

/** A copy of the whole volume, which has come up to here. */
export interface Copy {
  readonly at: number
  /** What the journal holds from there on is zeros, and what the log has written over them. */
  readonly isOntoZeros: boolean
}

const version = 3

export const beginning: Cursor = { moment: moment(0), session: 0, place: undefined }

export function encodeCursor({ moment: at, session, place }: Cursor): Buffer {
  const writer = new ByteWriter(64).u8(version).varint(at).u32(session)
  writer.u8(place === undefined ? 0 : 1)
  if (place !== undefined) {
    const { epoch, number, bytes, suspect, copy, compared, recorded, awaySince } = place
    writer.varint(epoch).varint(number).varint(bytes)
    writer.u8(suspect === undefined ? 0 : 1 + suspectReasons.indexOf(suspect))
    writer
      .u8(copy === undefined ? 0 : copy.isOntoZeros ? 2 : 1)
      .varint(copy?.at ?? 0)
      .varint(compared)
      .varint(recorded)
      .varint(awaySince)
  }
  return writer.finish()
}

/** Without bytes, the beginning of a journal. Bytes that are no cursor are refused: going on elsewhere would make a gap. */
export function decodeCursor(bytes: Uint8Array): Cursor {
  if (bytes.length === 0) return beginning
  try {
    return read(new ByteReader(bytes))
  } catch (error) {
    if (!(error instanceof Malformed)) throw error
    throw new TidemarkError('unsupported-format', {
      message: `the journal does not say where its volume log goes on: ${error.message}`,
      hint: 'run the version of this program that wrote it, or a newer one',
      cause: error,
    })
  }
}

function read(reader: ByteReader): Cursor {
  const found = reader.u8()
  if (found < 1 || found > version) throw new Malformed(`cursor version ${found}`)
  const at = moment(reader.varint())
  const session = reader.u32()
  const place = reader.u8() === 0 ? undefined : readPlace(reader, found)
  reader.end()
  return { moment: at, session, place }
}

function readPlace(reader: ByteReader, found: number): Place {
  const epoch = reader.varint()
  const number = reader.varint()
  const bytes = reader.varint()
  const suspect = reader.u8()
  const copy = reader.u8()
  const at = reader.varint()
  const compared = moment(found < 2 ? 0 : reader.varint())
  const recorded = moment(found < 3 ? 0 : reader.varint())
  const awaySince = moment(found < 3 ? 0 : reader.varint())
  if (suspect > suspectReasons.length || copy > 2) throw new Malformed(`suspect ${suspect}, copy ${copy}`)
  return {
    epoch,
    number,
    bytes,
    suspect: suspect === 0 ? undefined : suspectReasons[suspect - 1],
    copy: copy === 0 ? undefined : { at, isOntoZeros: copy === 2 },
    compared,
    recorded,
    awaySince,
  }
}
