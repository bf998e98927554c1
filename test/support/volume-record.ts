/** A transaction, noted by who made it: independently of whatever keeps it. */
export interface Noted {
  /** Makes its transactions one after the other, numbered from 1. */
  readonly user: string
  readonly number: number
  /** Before it was sent, and when it was known to be committed; microseconds of this machine's clock. */
  readonly began: number
  readonly told: number
}

/** What a disk must hold of one user's transactions, and what it may. */
export interface Bounds {
  readonly user: string
  readonly atLeast: number
  readonly atMost: number
}

/**
 * All transactions of a load. Writes of a volume have a moment each, by the same clock, and grow with their order: so a disk as
 * it stood at a write holds each transaction that was told before this write, and none that began after it.
 */
export class TransactionRecord {
  readonly #users = new Map<string, Noted[]>()

  begun(user: string, number: number, began: number): void {
    const all = this.#of(user)
    if (number !== all.length + 1) throw new Error(`${user} made ${number} after ${all.length}`)
    all.push({ user, number, began, told: Infinity })
  }

  told(user: string, number: number, told: number): void {
    const all = this.#of(user)
    const noted = all[number - 1]
    if (noted === undefined) throw new Error(`${user} was told of ${number} that it has not begun`)
    all[number - 1] = { ...noted, told }
  }

  get users(): string[] {
    return [...this.#users.keys()]
  }

  of(user: string): readonly Noted[] {
    return this.#of(user)
  }

  /** How many of each user's were told. */
  get counts(): number[] {
    return [...this.#users.values()].map((all) => all.filter(({ told }) => told < Infinity).length)
  }

  at(user: string, moment: number): Bounds {
    const all = this.#of(user)
    return {
      user,
      atLeast: all.filter(({ told }) => told < moment).length,
      atMost: all.filter(({ began }) => began <= moment).length,
    }
  }

  #of(user: string): Noted[] {
    const all = this.#users.get(user) ?? []
    this.#users.set(user, all)
    return all
  }
}

/** What was found of a user's transactions on a disk: whole ones up to a number, and what is wrong besides. */
export interface Found {
  readonly user: string
  readonly last: number
  readonly problems: readonly string[]
}

export function judge({ user, last, problems }: Found, { atLeast, atMost }: Bounds): string[] {
  const all = problems.map((problem) => `${user}: ${problem}`)
  if (last < atLeast) all.push(`${user}: was told of ${atLeast} transactions, and ${last} are there`)
  if (last > atMost) all.push(`${user}: ${last} transactions are there, and only ${atMost} had begun`)
  return all
}
