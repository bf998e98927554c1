import { cString, libcFunction } from './libc.ts'

const currentDirectory = -100 // AT_FDCWD
const noFollow = 0x100 // AT_SYMLINK_NOFOLLOW
const omit = 0x3fff_fffen // UTIME_OMIT in the nanoseconds of a timespec: leave this time alone

const nanosecondsPerSecond = 1_000_000_000n

const utimensat = libcFunction('utimensat', 'int', ['int', 'bytes', 'bytes', 'int'])

/** Nanoseconds since the Unix epoch, before it negative. A time not given stays as it is. */
export interface Times {
  accessed?: bigint | undefined
  modified?: bigint | undefined
}

/** Sets the times of a path itself, never of what a symbolic link points to; node:fs keeps only microseconds. */
export function setTimes(path: string, times: Times): void {
  const timespecs = Buffer.alloc(32)
  writeTimespec(timespecs, 0, times.accessed)
  writeTimespec(timespecs, 16, times.modified)
  utimensat([currentDirectory, cString(path), timespecs, noFollow], path)
}

function writeTimespec(into: Buffer, offset: number, time: bigint | undefined): void {
  if (time === undefined) {
    into.writeBigInt64LE(omit, offset + 8)
    return
  }
  const nanoseconds = ((time % nanosecondsPerSecond) + nanosecondsPerSecond) % nanosecondsPerSecond
  into.writeBigInt64LE((time - nanoseconds) / nanosecondsPerSecond, offset)
  into.writeBigInt64LE(nanoseconds, offset + 8)
}
