import { displayName } from '../model/path.ts'

/** What could not be restored as it was, though the content is right: kept as counts with an example each. */
export type NoteKind = 'owner' | 'acl' | 'xattr' | 'device'

export interface Noted {
  readonly what: NoteKind
  readonly count: number
  /** A path of the tree, as a binary string. */
  readonly example: string
}

export class Notes {
  readonly #noted = new Map<NoteKind, { count: number; example: string }>()

  add(what: NoteKind, example: string, count = 1): void {
    const known = this.#noted.get(what)
    if (known) known.count += count
    else this.#noted.set(what, { count, example })
  }

  addAll(noted: readonly Noted[]): void {
    for (const { what, count, example } of noted) this.add(what, example, count)
  }

  list(): Noted[] {
    return Array.from(this.#noted, ([what, rest]) => ({ what, ...rest }))
  }

  /** As sentences for the operator. */
  sentences(): string[] {
    return this.list().map(({ what, count, example }) => `${sentence[what](count)}, such as "${displayName(example)}"`)
  }
}

const sentence: Record<NoteKind, (count: number) => string> = {
  owner: (count) =>
    `owners were left as they are on ${entries(count)}, and set-id bits dropped there, as only root may set them`,
  acl: (count) => `ACLs were not taken by the target on ${entries(count)}`,
  xattr: (count) => `extended attributes were not taken by the target on ${entries(count)}`,
  device: (count) => `${count === 1 ? '1 device was' : `${count} devices were`} left out, as only root may make them`,
}

const entries = (count: number): string => (count === 1 ? '1 entry' : `${count} entries`)
