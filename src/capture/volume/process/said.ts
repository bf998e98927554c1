import { appendFileSync, renameSync, statSync } from 'node:fs'
import type { Clock } from '../../../base/clock.ts'
import { isSystemError } from '../../../base/errors.ts'
import { isoMoment, moment } from '../../../model/moment.ts'

/** Of the file; there is one older one beside it. */
const bytesMax = 1024 * 1024

/** What a server says that nobody watches: lines in a file, and the file before it. */
export function sayInto(file: string, clock: Clock): (line: string) => void {
  return (line) => {
    if (sizeOf(file) > bytesMax) renameSync(file, `${file}.old`)
    appendFileSync(file, `${isoMoment(moment(clock.now()))} ${line}\n`, { mode: 0o600 })
  }
}

function sizeOf(file: string): number {
  try {
    return statSync(file).size
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return 0
    throw error
  }
}
