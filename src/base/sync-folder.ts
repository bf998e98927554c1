import { closeSync, fsyncSync, openSync } from 'node:fs'

/** Makes names durable: those that were made, renamed or removed in the folder. */
export function syncFolder(folder: string): void {
  const descriptor = openSync(folder, 'r')
  try {
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}
