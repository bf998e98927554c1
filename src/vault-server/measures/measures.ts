import { messageOf, TidemarkError } from '../../base/errors.ts'
import type { Id } from '../../model/source.ts'
import { MeasureFile } from './measure-file.ts'
import { isFileDamage, putAside } from './schema.ts'
import type { Verification } from './verification-rows.ts'

/**
 * The file of measures, whatever happens to it: damage is told, the file is put aside and a new one begun; a minute that cannot
 * be written is told and lost. Nothing of this reaches those who protect.
 */
export class Measures implements Disposable {
  readonly #path: string
  readonly #tell: (line: string) => void
  #file: MeasureFile | undefined
  readonly #failing = new Set<string>()

  constructor(path: string, tell: (line: string) => void) {
    this.#path = path
    this.#tell = tell
  }

  /** `what` is to be done. That it fails is told once until it succeeds; what was to be recorded is lost. */
  record(what: string, work: (file: MeasureFile) => void): void {
    try {
      work(this.#opened())
      this.#failing.delete(what)
    } catch (error) {
      if (isFileDamage(error)) return this.#replace(error)
      if (!this.#failing.has(what)) this.#tell(`measures: could not ${what}, which is tried again: ${messageOf(error)}`)
      this.#failing.add(what)
    }
  }

  /** What somebody asks for and waits for: he is told of a failure. */
  ask<T>(work: (file: MeasureFile) => T): T {
    try {
      return work(this.#opened())
    } catch (error) {
      if (!isFileDamage(error)) throw error
      this.#replace(error)
      throw new TidemarkError('interrupted', {
        message: `the measures of the past cannot be read: ${messageOf(error)}`,
        hint: 'they were put aside, and measuring goes on from now; ask again',
        cause: error,
      })
    }
  }

  /** For the status of a source, which is told whatever becomes of the file. */
  lastVerification(source: Id): Verification | undefined {
    return this.#file?.lastVerification(source)
  }

  #opened(): MeasureFile {
    return (this.#file ??= new MeasureFile(this.#path))
  }

  #replace(error: unknown): void {
    this.#file?.[Symbol.dispose]()
    this.#file = undefined
    const aside = putAside(this.#path)
    this.#tell(
      `DAMAGE: ${this.#path} cannot be read: ${messageOf(error)}; it was put aside as ${aside}, and measuring begins anew`,
    )
  }

  [Symbol.dispose](): void {
    this.#file?.[Symbol.dispose]()
    this.#file = undefined
  }
}
