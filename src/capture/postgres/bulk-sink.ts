import type { Chunk } from '../../format/block.ts'
import type { Change } from '../../model/change.ts'

/** Takes the changes of a baseline, in their order. */
export interface BulkSink {
  /**
   * Resolves when there is room for more. `chunks` are those that the change refers to, to be sent before it unless the
   * vault has them; their memory is the sink's from now on.
   */
  write(change: Change, chunks: readonly Chunk[]): Promise<void>
  /** Hands on what has been written, however little it is. */
  flush(): Promise<void>
}
