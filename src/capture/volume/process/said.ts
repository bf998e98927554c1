import { appendFileSync, renameSync, statSync } from 'node:fs'
import type { Clock } from '../../../base/clock.ts'
import { isSystemError, messageOf } from '../../../base/errors.ts'
import { isoMoment, moment } from '../../../model/moment.ts'

/** Of the file; there is one older one beside it. */
const bytesMax = 1024 * 1024

/**
 * What a server says that nobody watches: lines in a file, and the file before it. Whatever keeps a line from being written, a full
 * disk above all, must not end who serves a volume: it is said with the next one that can be.
 */
export function sayInto(file: string, clock: Clock): (line: string) => void {
  let lost = { lines: 0, why: '' }
  const write = (line: string): void => {
    if (sizeOf(file) > bytesMax) renameSync(file, `${file}.old`)
    appendFileSync(file, `${isoMoment(moment(clock.now()))} ${line}\n`, { mode: 0o600 })
  }
  return (line) => {
    const { lines, why } = lost
    try {
      if (lines > 0) write(`${lines} lines before this one could not be written: ${why}`)
      lost = { lines: 0, why: '' }
      write(line)
    } catch (error) {
      lost = { lines: lost.lines + 1, why: messageOf(error) }
    }
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
