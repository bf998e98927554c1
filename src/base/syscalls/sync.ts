import { libcFunction } from './libc.ts'

const syncfs = libcFunction('syncfs', 'int', ['int'])

/** Makes durable all that was written to the file system of an open file, by whomever. Blocks this thread meanwhile. */
export function syncFilesystem(fd: number): void {
  syncfs([fd])
}
