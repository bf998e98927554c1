import { libcFunction } from './libc.ts'

const close = libcFunction('close', 'int', ['int'])

/**
 * Closes a descriptor opened by this folder. fs.closeSync would warn in a worker thread, where Node keeps account of
 * the descriptors that node:fs opened.
 */
export function closeDescriptor(fd: number): void {
  close([fd])
}
