import type { Clock } from '../base/clock.ts'
import type { Random } from '../base/random.ts'
import type { VaultCredentials } from '../wire/authority.ts'
import type { Vault } from '../vault/vault.ts'
import type { Derived } from './derived.ts'
import type { HeldPoints } from './held-points.ts'
import type { Live } from './live.ts'
import type { Measures } from './measures/measures.ts'
import type { Space } from './space.ts'
import type { SpaceLooks } from './space-looks.ts'
import type { Statuses } from './statuses.ts'
import type { Turns } from './turns.ts'
import type { Tasks } from './tasks/tasks.ts'

/** What the routes of the HTTP API work with. */
export interface Context {
  readonly vault: Vault
  readonly derived: Derived
  readonly live: Live
  readonly space: Space
  readonly spaceLooks: SpaceLooks
  readonly statuses: Statuses
  readonly turns: Turns
  readonly held: HeldPoints
  readonly tasks: Tasks
  readonly measures: Measures
  readonly credentials: VaultCredentials
  /** host:port that a token carries, if one is known. */
  readonly address: string
  readonly clock: Clock
  readonly random: Random
}
