import { randomBytes } from 'node:crypto'

/** Chance comes through this door, so that a seed can decide it in tests. */
export interface Random {
  /** `count` unpredictable bytes, fit for keys. */
  bytes(count: number): Uint8Array
  /** A number in [0, 1), for jitter; not for secrets. */
  fraction(): number
}

export const systemRandom: Random = {
  bytes: (count) => randomBytes(count),
  fraction: () => Math.random(),
}
