import type { Clock } from '../../base/clock.ts'
import type { Lane } from '../batch-builder.ts'

/** What may go out at present. */
export interface Flow {
  /** Whether the vault can be asked. */
  isLineUp(): boolean
  /** Whether more may be read and handed out. */
  hasRoom(lane: Lane): boolean
}

/** How long a turn works on one thing before it looks around. */
export const sliceMs = { live: 50, large: 20, bulk: 20 }

/** Whether a slice that begins now is over. */
export function slice(clock: Clock, ms: number): () => boolean {
  const end = clock.monotonicMs() + ms
  return () => clock.monotonicMs() >= end
}
