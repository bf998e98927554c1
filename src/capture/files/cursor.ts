import { cursorBytesMax } from '../../model/batch.ts'
import { assert } from '../../base/assert.ts'
import { type Moment, moment } from '../../model/moment.ts'

/** What a batch of kind `files` says of where the capture stood: JSON. */
export interface Cursor {
  readonly version: 1
  /** Of the last change: moments of later ones are greater, whatever the clock does. */
  readonly moment: Moment
  /** Of the session that wrote it, at random: two batches of different content never have the same cursor. */
  readonly session: string
  /** Whether everything has been captured once. */
  readonly baseline: 'under-way' | 'complete'
}

export const beginning: Cursor = { version: 1, moment: moment(0), session: '', baseline: 'under-way' }

export function encodeCursor(cursor: Cursor): Buffer {
  const bytes = Buffer.from(JSON.stringify(cursor))
  assert(bytes.length <= cursorBytesMax, 'a cursor is short')
  return bytes
}

/** Bytes that are not a cursor of ours mean no more than that nothing is known: the beginning. */
export function decodeCursor(bytes: Uint8Array): Cursor {
  if (bytes.length === 0) return beginning
  try {
    const read = JSON.parse(Buffer.from(bytes).toString()) as Partial<Cursor>
    if (read.version !== 1 || (read.baseline !== 'complete' && read.baseline !== 'under-way')) return beginning
    return { version: 1, moment: moment(read.moment ?? 0), session: read.session ?? '', baseline: read.baseline }
  } catch {
    return beginning
  }
}
