import type { VolumeLogFile, VolumeLogFolder } from '../../../format/volume-log-reader.ts'

/**
 * The door to the disk: the folder with the log and the backing. Calls without a promise are done when they return, and are short.
 * System errors come through with their codes; an ENOSPC or EDQUOT says that nothing was lost but the room.
 */
export interface VolumeFiles {
  readonly log: LogFolder
  readonly backing: Backing
}

export interface LogFolder extends VolumeLogFolder {
  /**
   * A file of this name with room for `bytes` set aside, so that writing within them never lacks any; where the file system cannot set
   * it aside, zeros are written. What the file holds is anything. Where there is no room no file is left.
   */
  create(name: string, bytes: number): Promise<LogFile>
  open(name: string): Promise<LogFile | undefined>
  /** Over whatever is there. Durable once `syncNames` has resolved that was called afterwards. */
  rename(from: string, to: string): void
  remove(name: string): Promise<void>
  syncNames(): Promise<void>
}

export interface LogFile extends VolumeLogFile {
  readonly bytes: number
  /** How many bytes are written: all, or fewer where there is no room for more. */
  write(parts: readonly Uint8Array[], at: number): number
  /** False where it would have to wait for the disk: then nothing is told about `into`. */
  readNow(into: Buffer, at: number): boolean
  /** Makes durable what was written before the call. */
  sync(): Promise<void>
}

export interface Backing {
  readonly bytes: number
  /** All of `into`; a backing that ends before is an error. */
  read(into: Buffer, at: number): Promise<void>
  readNow(into: Buffer, at: number): boolean
  /** One step after the other; on an error any of them may be done, whole or in part. */
  apply(steps: readonly ApplyStep[]): Promise<void>
  sync(): Promise<void>
  /** Where it holds data, ascending; all between is a hole. */
  dataRanges(at: number, bytes: number): readonly { readonly at: number; readonly bytes: number }[]
}

export type ApplyStep =
  | {
      readonly kind: 'copy'
      readonly from: LogFile
      readonly position: number
      readonly at: number
      readonly bytes: number
    }
  | { readonly kind: 'zero'; readonly at: number; readonly bytes: number }
