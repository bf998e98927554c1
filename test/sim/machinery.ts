import type { Store } from '../../src/store/store.ts'
import type { Capture } from '../../src/capture/capture.ts'
import type { VolumeFiles } from '../../src/capture/volume/server/files.ts'
import type { ServerLink } from '../../src/capture/volume/server-link.ts'
import type { RetainParts } from '../../src/vault/retention/retain.ts'
import type { ChunkReader, JournalReader } from '../../src/vault/reader.ts'
import type { VaultPort } from '../../src/wire/ports.ts'
import type { SimulatedTime } from './clock.ts'
import type { SimulatedNetwork } from './network.ts'
import type { Seeded } from './random.ts'
import type { Trace } from './trace.ts'

/** What every machine of one world works with. */
export interface Machinery {
  readonly time: SimulatedTime
  readonly random: Seeded
  readonly network: SimulatedNetwork
  readonly trace: Trace
  readonly plant: Plant
}

/** A fault put between the parts on purpose, to see that the world notices (planted.ts). */
export interface Plant {
  readonly vaultStore?: (store: Store) => Store
  readonly spoolStore?: (store: Store) => Store
  readonly port?: (port: VaultPort) => VaultPort
  readonly journal?: (journal: JournalReader) => JournalReader
  readonly chunks?: (chunks: ChunkReader) => ChunkReader
  readonly capture?: (capture: Capture) => Capture
  readonly retain?: (parts: RetainParts) => RetainParts
  readonly inUse?: (isInUse: boolean) => boolean
  readonly spoolBytesMax?: (limit: number) => number
  /** Of the worlds with volumes alone. */
  readonly volumeFiles?: (files: VolumeFiles) => VolumeFiles
  readonly volumeLink?: (link: ServerLink) => ServerLink
}

export const passed = <T>(through: ((value: T) => T) | undefined, value: T): T => (through ? through(value) : value)
