import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { Chance, numberOf } from './dataset/chance.ts'
import { DatabasePages, pageBytes } from './dataset/database-pages.ts'
import { officeDocument } from './dataset/documents.ts'
import { SourceText } from './dataset/source-text.ts'

/**
 * The data that is protected in the measurements: always the same bytes, made once and kept between runs.
 *
 *   source/   files of text, median 5 KB, mean 16 KB, in directories of about 16, some symbolic links
 *   database/ files of 8 KiB pages
 *   office/   documents that are compressed already
 */
export interface Dataset {
  readonly directory: string
  readonly size: Size
}

export interface Size {
  readonly name: string
  readonly sourceFiles: number
  readonly databaseBytes: readonly number[]
  readonly officeFiles: number
}

/** Raise it when the same seed gives other bytes. */
const version = 1
const mebibyte = 1024 * 1024
export const fullSize: Size = {
  name: 'full',
  sourceFiles: 78_000,
  databaseBytes: [1024 * mebibyte, 1024 * mebibyte, 1024 * mebibyte],
  officeFiles: 1500,
}
export const quickSize: Size = {
  name: 'quick',
  sourceFiles: 7800,
  databaseBytes: [102 * mebibyte, 102 * mebibyte, 102 * mebibyte],
  officeFiles: 150,
}

/** Everything that measurements leave on the disk between runs stands here. */
export const benchDirectory = join(tmpdir(), `tidemark-bench-${version}`)

export function makeDataset(size: Size, tell: (line: string) => void): Dataset {
  const directory = join(benchDirectory, size.name)
  if (existsSync(directory)) return { directory, size }
  tell(`making the data once, in ${directory}`)
  const unfinished = `${directory}.unfinished`
  rmSync(unfinished, { recursive: true, force: true })
  writeSource(join(unfinished, 'source'), size.sourceFiles)
  writeDatabase(join(unfinished, 'database'), size.databaseBytes)
  writeOffice(join(unfinished, 'office'), size.officeFiles)
  renameSync(unfinished, directory)
  return { directory, size }
}

function writeSource(root: string, files: number): void {
  const chance = new Chance(20_261_122)
  const directories = sourceDirectories(Math.ceil(files / 16), chance)
  for (const directory of directories) mkdirSync(join(root, directory), { recursive: true })
  const texts = new Map<number, SourceText>()
  let before = ''
  for (let number = 0; number < files; number++) {
    const directory = chance.below(directories.length)
    const text = texts.get(directory) ?? new SourceText(directory, chance)
    texts.set(directory, text)
    // One in fifty is a copy of another one, as headers and test data often are.
    const content = number % 50 === 49 ? before : text.file(Math.min(1_500_000, chance.logNormal(5000, 1.55)))
    before = content
    const path = join(
      root,
      directories[directory] as string,
      `${text.word()}-${number}${chance.of(['.c', '.c', '.h', '.js', '.md', '.dts'])}`,
    )
    writeFileSync(path, content, { mode: number % 40 === 0 ? 0o755 : 0o644 })
    if (number % 500 === 0) symlinkSync(`../${path.slice(path.lastIndexOf('/') + 1)}`, `${path}.link`)
  }
}

function sourceDirectories(count: number, chance: Chance): string[] {
  const names = new SourceText(0, chance)
  const made = ['']
  while (made.length <= count) {
    const parent = made[chance.below(Math.min(made.length, count / 3))] as string
    if (parent.split('/').length < 7) made.push(join(parent, `${names.word()}${made.length}`))
  }
  return made.slice(1)
}

function writeDatabase(root: string, segments: readonly number[]): void {
  mkdirSync(root, { recursive: true })
  const pages = new DatabasePages(new Chance(815))
  const piece = Buffer.alloc(1024 * pageBytes)
  let number = 0
  for (const [segment, bytes] of segments.entries()) {
    const file = openSync(join(root, segment === 0 ? '16397' : `16397.${segment}`), 'w')
    for (let at = 0; at < bytes; at += piece.length) {
      const length = Math.min(piece.length, bytes - at)
      for (let offset = 0; offset < length; offset += pageBytes)
        pages.write(piece, offset, number++, 700 + (number >>> 12))
      writeSync(file, piece, 0, length)
    }
    fsyncSync(file)
    closeSync(file)
  }
}

function writeOffice(root: string, files: number): void {
  for (let number = 0; number < files; number++) {
    const path = join(root, `department-${number % 30}`, `document-${number}.docx`)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, officeDocument(number))
  }
}

/**
 * What a day does to it: of the text files one in a hundred gets a line in its middle, one in a thousand each is
 * renamed, deleted, new; of the database's pages one in a hundred is written again, most of them close together; of
 * the documents one in a hundred is saved anew. Every round touches others.
 */
export function change(directory: string, round: number): { files: number; pages: number } {
  const counts = { files: 0, pages: 0 }
  for (const path of filesBelow(join(directory, 'source'))) {
    const choice = numberOf(`${round} ${path.slice(directory.length)}`) % 1000
    if (choice > 12) continue
    counts.files++
    if (choice < 10) insertLine(path, round)
    else if (choice === 10) renameSync(path, `${path}.renamed-${round}`)
    else if (choice === 11) rmSync(path)
    else writeFileSync(`${path}.new-${round}`, new SourceText(choice, new Chance(round)).file(6000))
  }
  for (const path of filesBelow(join(directory, 'database'))) counts.pages += rewritePages(path, round)
  for (const path of filesBelow(join(directory, 'office'))) {
    const choice = numberOf(`${round} ${path.slice(directory.length)}`)
    if (choice % 100 !== 0) continue
    counts.files++
    writeFileSync(path, officeDocument(choice))
  }
  return counts
}

function insertLine(path: string, round: number): void {
  const content = readFileSync(path, 'latin1')
  const middle = content.indexOf('\n', content.length / 2) + 1
  writeFileSync(
    path,
    `${content.slice(0, middle)}\t/* changed in round ${round} */\n${content.slice(middle)}`,
    'latin1',
  )
}

function rewritePages(path: string, round: number): number {
  const chance = new Chance(numberOf(`${round} ${path.slice(path.lastIndexOf('/'))}`))
  const file = openSync(path, 'r+')
  try {
    const pages = new DatabasePages(chance)
    const page = Buffer.alloc(pageBytes)
    const total = Math.floor(statSync(path).size / pageBytes)
    const changed = Math.floor(total / 100)
    const hot = Array.from({ length: 8 }, () => chance.below(Math.max(1, total - 256)))
    for (let count = 0; count < changed; count++) {
      const number = count % 5 === 0 ? chance.below(total) : Math.min(total - 1, chance.of(hot) + chance.below(256))
      pages.write(page, 0, number, 100_000 + round * 1000 + count)
      writeSync(file, page, 0, pageBytes, number * pageBytes)
    }
    return changed
  } finally {
    closeSync(file)
  }
}

function* filesBelow(directory: string): Generator<string> {
  for (const item of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, item.name)
    if (item.isDirectory()) yield* filesBelow(path)
    else if (item.isFile()) yield path
  }
}
