import { appendFileSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { Dice } from './dice.ts'
import { digest } from './comparison.ts'

/**
 * An office at work: writes, extends, renames and deletes documents of a directory, and keeps its own record of what
 * every file should hold. That record never touches Tidemark; it is what a restore is compared with.
 */
export class Editor {
  readonly directory: string
  readonly record = new Map<string, string>()
  edits = 0
  readonly #dice: Dice

  constructor(directory: string, seed: number) {
    this.directory = directory
    this.#dice = new Dice(seed)
  }

  /** A first set of documents. */
  fill(count: number): void {
    for (const folder of ['archive', ...Array.from({ length: 20 }, (_, number) => `office-${number}`)])
      mkdirSync(join(this.directory, folder))
    for (let number = 0; number < count; number++)
      this.#write(`office-${number % 20}/document-${number}.txt`, 400 + this.#dice.below(24_000))
    for (let number = 0; number < 4; number++)
      this.#write(`archive/scan-${number}.bin`, 4_000_000 + this.#dice.below(4_000_000))
  }

  /** One edit, as somebody at a desk makes it. */
  edit(): void {
    const names = [...this.record.keys()]
    const name = names[this.#dice.below(names.length)] as string
    const throwOf = this.#dice.below(100)
    if (throwOf < 45) this.#write(name, 200 + this.#dice.below(30_000))
    else if (throwOf < 70) this.#append(name)
    else if (throwOf < 85)
      this.#write(`office-${this.#dice.below(20)}/new-${this.edits}.txt`, 200 + this.#dice.below(9_000))
    else if (throwOf < 95) this.#rename(name, `${dirname(name)}/renamed-${this.edits}.txt`)
    else this.#remove(name)
    this.edits++
  }

  #write(name: string, bytes: number): void {
    const content = this.#dice.text(bytes)
    writeFileSync(join(this.directory, name), content)
    this.record.set(name, digest(content))
  }

  #append(name: string): void {
    const path = join(this.directory, name)
    appendFileSync(path, this.#dice.text(100 + this.#dice.below(4_000)))
    this.record.set(name, digest(readFileSync(path)))
  }

  #rename(from: string, to: string): void {
    renameSync(join(this.directory, from), join(this.directory, to))
    this.record.set(to, this.record.get(from) as string)
    this.record.delete(from)
  }

  #remove(name: string): void {
    rmSync(join(this.directory, name))
    this.record.delete(name)
  }
}
