/** More than wait at any time; the oldest are asked for again by whoever waits. */
const marksMax = 1000

interface Asked {
  readonly tag: number
  readonly label: string
}

/** Marks that somebody waits for, until their records have come. A record of another life has nobody who waits. */
export class AskedMarks {
  readonly #marks = new Map<number, { readonly label: string; isInLog: boolean }>()

  ask({ tag, label }: Asked): void {
    const oldest = this.#marks.keys().next()
    if (this.#marks.size === marksMax && oldest.done !== true) this.#marks.delete(oldest.value)
    this.#marks.set(tag, { label, isInLog: false })
  }

  inLog(tag: number): void {
    const mark = this.#marks.get(tag)
    if (mark) mark.isInLog = true
  }

  /** Those that the server may not have been told of. */
  *untold(): Generator<Asked> {
    for (const [tag, { label, isInLog }] of this.#marks) if (!isInLog) yield { tag, label }
  }

  /** Whether somebody waits for this one, who is answered now. */
  answer({ tag, label }: Asked): boolean {
    return this.#marks.get(tag)?.label === label && this.#marks.delete(tag)
  }
}
