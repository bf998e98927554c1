import type { VolumeRecord } from '../../format/volume-log.ts'
import type { FromVolumeServer, ToVolumeServer } from './control.ts'

export type VolumeFacts = Extract<FromVolumeServer, { kind: 'volume' }>

/** One conversation with a volume server, and beside it the volume's content and its log. */
export interface ServerLink extends AsyncDisposable {
  /** What it said first. */
  readonly volume: VolumeFacts
  /** What it says from then on. Ends, or throws, when the conversation is over. */
  readonly messages: AsyncIterable<FromVolumeServer>
  /** After the end of the conversation it does nothing. */
  tell(message: ToVolumeServer): void
  /** Holds each write that the server has answered, or told of as durable, before this was called. The bytes are the caller's. */
  read(at: number, bytes: number): Promise<Uint8Array>
  /** As `read`, where it can be known without reading that these are zeros. */
  isZeros(at: number, bytes: number): Promise<boolean>
  /** Records after `after` up to `upTo`, which is durable, in groups of bounded size, each in memory that is the caller's; fails where they are gone. */
  records(after: number, upTo: number): AsyncIterable<readonly VolumeRecord[]>
}

/** Begins a conversation; starts the server where it does not run. */
export type OpenServer = (signal: AbortSignal) => Promise<ServerLink>
