import { TidemarkError } from '../base/errors.ts'
import { formatMoment } from '../model/moment.ts'
import { displayName } from '../model/path.ts'
import { Notes } from './notes.ts'
import type { RestorePoint } from '../model/recovery-point.ts'
import type { Failure, Written } from './write-group.ts'

/** What a restore has done, for the operator and for scripts. */
export interface RestoreReceipt extends RestorePoint {
  readonly source: string
  readonly target: string
  readonly files: number
  readonly directories: number
  /** Hard links beyond the first name of a file. */
  readonly links: number
  /** Symbolic links, fifos, sockets and devices. */
  readonly nodes: number
  /** Of content. */
  readonly bytes: number
  readonly seconds: number
  /** Each checked against its id as it was written. */
  readonly verifiedChunks: number
  /** What is not as it was though the content is right, as sentences. */
  readonly notes: readonly string[]
  /** What is missing from the target; at most `failuresKeptMax` of them. */
  readonly failures: readonly Failure[]
  readonly failureCount: number
}

export const failuresKeptMax = 1000
const failuresToldMax = 10

/** Some of the tree was not restored; the rest is in its place. */
export class RestoreIncomplete extends TidemarkError {
  readonly receipt: RestoreReceipt

  constructor(receipt: RestoreReceipt) {
    const { failureCount, failures, source, moment, target } = receipt
    const told = failures.slice(0, failuresToldMax).map(describeFailure)
    const more = failureCount - told.length
    if (more > 0) told.push(`and ${more} more`)
    super('verification-failed', {
      message:
        `${failureCount} ${failureCount === 1 ? 'thing' : 'things'} of ${source} at ${formatMoment(moment)} ` +
        `could not be restored to ${target}; all else was:\n  ${told.join('\n  ')}`,
      hint: 'run "tidemark verify" on the vault; once it is healed, restore again with --resume to get just these',
    })
    this.receipt = receipt
  }
}

function describeFailure({ path, at, bytes, reason }: Failure): string {
  const where = at === undefined ? '' : `, bytes ${at} to ${at + (bytes ?? 0)}`
  return `${displayName(path)}${where}: ${reason}`
}

/** Sums up what the parts of a restore have done. */
export class Tally {
  files = 0
  directories = 0
  links = 0
  nodes = 0
  bytes = 0
  chunks = 0
  failureCount = 0
  readonly failures: Failure[] = []
  readonly notes = new Notes()
  /** What the vault said of damage it met, each once. */
  readonly damage = new Set<string>()

  add(written: Written): void {
    this.files += written.files
    this.nodes += written.nodes
    this.bytes += written.bytes
    this.chunks += written.chunks
    this.notes.addAll(written.notes)
    for (const failure of written.failures) this.fail(failure)
  }

  addDamage(damage: readonly string[]): void {
    for (const told of damage) if (this.damage.size < failuresKeptMax) this.damage.add(told)
  }

  fail(failure: Failure): void {
    this.failureCount++
    if (this.failures.length < failuresKeptMax) this.failures.push(failure)
  }
}
