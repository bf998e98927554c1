import type { Sequence } from '../../model/sequence.ts'
import type { SourceDefinition } from '../../model/source.ts'
import type { Account } from './server.ts'

/** What a capture is made of, as it travels to its thread. */
export interface EngineRequest {
  readonly source: SourceDefinition
  readonly resumeAt: Sequence
  readonly cursor: Uint8Array
  readonly chunkKey: Uint8Array
  readonly account: Account
}
