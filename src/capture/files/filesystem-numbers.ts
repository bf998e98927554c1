import type { DatabaseSync, StatementSync } from 'node:sqlite'

/** The catalog's numbers for file systems, by their identity; they stand in every stat. */
export class FilesystemNumbers {
  readonly #byIdentity = new Map<string, number>()
  readonly #add: StatementSync

  constructor(database: DatabaseSync) {
    this.#add = database.prepare('INSERT INTO filesystem (number, identity) VALUES (?, ?)')
    for (const { number, identity } of database.prepare('SELECT number, identity FROM filesystem').all())
      this.#byIdentity.set(identity as string, number as number)
  }

  of(identity: string): number {
    return this.#byIdentity.get(identity) ?? this.#keep(identity, 1 + Math.max(0, ...this.#byIdentity.values()))
  }

  /** Into a catalog that has none yet. */
  takeOver(other: FilesystemNumbers): void {
    for (const [identity, number] of other.#byIdentity) this.#keep(identity, number)
  }

  #keep(identity: string, number: number): number {
    this.#add.run(number, identity)
    this.#byIdentity.set(identity, number)
    return number
  }
}
