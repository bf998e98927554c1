import { createHash } from 'node:crypto'
import {
  appendFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'

/**
 * An office at work: writes, extends, renames and deletes documents of a directory, and keeps its own record of what
 * every file should hold. That record never touches Tidemark; it is what a restore is compared with.
 */
export class Editor {
  readonly directory: string
  readonly record = new Map<string, string>()
  edits = 0
  #state: number

  constructor(directory: string, seed: number) {
    this.directory = directory
    this.#state = seed
  }

  /** A first set of documents. */
  fill(count: number): void {
    for (let number = 0; number < count; number++)
      this.#write(`office-${number % 20}/document-${number}.txt`, 400 + this.#below(24_000))
    for (let number = 0; number < 4; number++)
      this.#write(`archive/scan-${number}.bin`, 4_000_000 + this.#below(4_000_000))
  }

  /** One edit, as somebody at a desk makes it. */
  edit(): void {
    const names = [...this.record.keys()]
    const name = names[this.#below(names.length)] as string
    const dice = this.#below(100)
    if (dice < 45) this.#write(name, 200 + this.#below(30_000))
    else if (dice < 70) this.#append(name)
    else if (dice < 85) this.#write(`office-${this.#below(20)}/new-${this.edits}.txt`, 200 + this.#below(9_000))
    else if (dice < 95) this.#rename(name, `${dirname(name)}/renamed-${this.edits}.txt`)
    else this.#remove(name)
    this.edits++
  }

  #write(name: string, bytes: number): void {
    const content = this.#text(bytes)
    const path = join(this.directory, name)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, content)
    this.record.set(name, digest(content))
  }

  #append(name: string): void {
    const path = join(this.directory, name)
    appendFileSync(path, this.#text(100 + this.#below(4_000)))
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

  #text(bytes: number): Buffer {
    const words: string[] = []
    for (let length = 0; length < bytes; length += 9) words.push(this.#below(0xffff_ffff).toString(16).padStart(8, ' '))
    return Buffer.from(words.join(' ')).subarray(0, bytes)
  }

  #below(limit: number): number {
    this.#state = (Math.imul(this.#state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((this.#state / 0x1_0000_0000) * limit)
  }
}

export const digest = (content: Uint8Array): string => createHash('sha256').update(content).digest('hex')

/** Every regular file below a directory with the digest of its bytes. */
export function digestTree(directory: string, prefix = ''): Map<string, string> {
  const found = new Map<string, string>()
  for (const item of readdirSync(join(directory, prefix), { withFileTypes: true })) {
    const name = prefix === '' ? item.name : `${prefix}/${item.name}`
    if (item.isDirectory()) for (const [path, value] of digestTree(directory, name)) found.set(path, value)
    else if (item.isFile()) found.set(name, digest(readFileSync(join(directory, name))))
  }
  return found
}

/** What ransomware does: a third encrypted in place, a third encrypted and renamed, a third deleted. */
export function accident(directory: string): { encrypted: number; renamed: number; deleted: number } {
  const counts = { encrypted: 0, renamed: 0, deleted: 0 }
  for (const [index, name] of [...digestTree(directory).keys()].entries()) {
    const path = join(directory, name)
    if (index % 3 === 2) {
      rmSync(path)
      counts.deleted++
      continue
    }
    const content = readFileSync(path)
    for (let at = 0; at < content.length; at++) content[at] = (content[at] as number) ^ 0xa5
    writeFileSync(path, content)
    if (index % 3 === 1) {
      renameSync(path, `${path}.locked`)
      counts.renamed++
    } else counts.encrypted++
  }
  writeFileSync(join(directory, 'READ-ME-TO-DECRYPT.txt'), 'pay up\n')
  return counts
}

export interface Comparison {
  readonly compared: number
  readonly differences: string[]
}

/** Compares what was restored with a record made without Tidemark. */
export function compare(record: ReadonlyMap<string, string>, restored: ReadonlyMap<string, string>): Comparison {
  const differences: string[] = []
  for (const [name, value] of record) {
    if (!restored.has(name)) differences.push(`missing: ${name}`)
    else if (restored.get(name) !== value) differences.push(`different: ${name}`)
  }
  for (const name of restored.keys()) if (!record.has(name)) differences.push(`too much: ${name}`)
  return { compared: record.size, differences }
}

export const treeBytes = (directory: string): number =>
  [...digestTree(directory).keys()].reduce((sum, name) => sum + statSync(join(directory, name)).size, 0)
