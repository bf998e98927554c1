import { assert } from '../base/assert.ts'

/** A name within a store: lower-case letters, digits, '.', '-', in folders joined by '/'; it does not end in `.replacing`. */
export type StoreName = string

const nameBytesMax = 512
/** Suffix of the new form of a file while it is being replaced. */
export const replacingSuffix = '.replacing'

/** Keeps what a program computes from leaving the store by its name. */
export function checkName(name: StoreName): void {
  const whole = name.length <= nameBytesMax && /^[a-z0-9.-]+(\/[a-z0-9.-]+)*$/.test(name)
  const dotted = name.split('/').some((part) => part === '.' || part === '..')
  assert(whole && !dotted && !name.endsWith(replacingSuffix), `${JSON.stringify(name)} is a name of a store`)
}

export interface StoredFile {
  readonly name: StoreName
  readonly bytes: number
}

/**
 * Keeps the files of a vault or a spool: files that only grow and are then left as they are, and small files that are
 * replaced whole. One process works on a store at a time.
 *
 * What survives a power cut: bytes appended before a `sync` that has resolved; a `replace` that has resolved; the
 * existence of a file after the first `sync` on it. Anything else may be there, be torn, or be absent.
 * A file system without room fails `append`, `sync` and `replace` with a TidemarkError `vault-full`.
 */
export interface Store {
  /** A new, empty file; a taken name fails with `already-exists`. */
  create(name: StoreName): Promise<GrowingFile>
  /** Goes on at the present end of a file that no one else is writing; its bytes so far are durable after a `sync`. */
  extend(name: StoreName): Promise<GrowingFile>
  /** `bytes` bytes from `at`; fewer where the file ends. An absent file is `not-found`. */
  read(name: StoreName, at: number, bytes: number): Promise<Buffer>
  /** Present length. An absent file is `not-found`. */
  size(name: StoreName): Promise<number>
  /** All files below `folder`, ascending by name, with their present lengths. An absent folder is empty. */
  list(folder: string): Promise<StoredFile[]>
  /** Cuts the file to its first `bytes` bytes, durably. */
  truncate(name: StoreName, bytes: number): Promise<void>
  /** Atomically makes `name` hold exactly `bytes`, durably: afterwards, and after a crash, it is the old or the new. */
  replace(name: StoreName, bytes: Uint8Array): Promise<void>
  /** Durably gone when resolved; an absent file is fine. */
  remove(name: StoreName): Promise<void>
  /** Bytes that may still be written, as the file system tells. */
  free(): Promise<number>
  /** Bytes that the file system can hold in all. */
  capacity(): Promise<number>
}

/** The one writer of a growing file. After a failed `append` or `sync` the tail is unknown: close it, never go on. */
export interface GrowingFile extends AsyncDisposable {
  readonly name: StoreName
  /** Length after all appends so far. */
  readonly bytes: number
  /** Adds at the end, in order of the calls. Not durable yet. */
  append(parts: readonly Uint8Array[]): Promise<void>
  /** When resolved, everything appended before the call is durable. */
  sync(): Promise<void>
}
