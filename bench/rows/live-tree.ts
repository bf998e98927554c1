import { closeSync, ftruncateSync, mkdirSync, openSync, statSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { pause } from '../command.ts'
import { Chance } from '../dataset/chance.ts'
import { randomLooking } from '../dataset/database-pages.ts'

/** A change that was made: which bytes now stand where, and when the file was closed. */
export interface Made {
  /** Below the tree's directory. */
  readonly path: string
  readonly at: number
  readonly bytes: Buffer
  readonly modifiedUs: number
  /** performance.now() */
  readonly closedAt: number
}

const fileBytes = 4096
const mebibyte = 1024 * 1024

/** The directory whose files change: a thousand small ones and a large one. */
export class LiveTree {
  readonly directory: string
  readonly smallFiles: number
  readonly largeBytes: number
  readonly #burstFiles: number
  readonly #chance = new Chance(42)
  #round = 0

  constructor(place: string, isQuick: boolean) {
    this.directory = join(place, 'live')
    this.smallFiles = isQuick ? 100 : 1000
    this.largeBytes = (isQuick ? 100 : 1024) * mebibyte
    this.#burstFiles = isQuick ? 100 : 1000
    for (let number = 0; number < this.smallFiles; number++) {
      mkdirSync(join(this.directory, `folder-${number % 20}`), { recursive: true })
      writeFileSync(join(this.directory, smallPath(number)), this.#content())
    }
    writeLarge(join(this.directory, 'large.bin'), this.largeBytes)
  }

  changeOne(count: number): Made {
    return this.#write(smallPath((count * 37) % this.smallFiles), 'w', 0)
  }

  /** Files that are new, as fast as this process can write them. */
  async burst(): Promise<Made[]> {
    const round = this.#round++
    for (let folder = 0; folder < 10; folder++) mkdirSync(join(this.directory, `burst-${round}-${folder}`))
    // The folders are old news to all when the files come.
    await pause(2500)
    return Array.from({ length: this.#burstFiles }, (_, number) =>
      this.#write(`burst-${round}-${number % 10}/file-${number}.txt`, 'wx', 0),
    )
  }

  changeLarge(where: 'middle' | 'end', count: number): Made {
    const at = where === 'end' ? this.largeBytes - fileBytes : this.largeBytes / 2 + count * 8 * fileBytes
    return this.#write('large.bin', 'r+', at)
  }

  /** So long that a delay of a second or so is met at any phase. */
  rest = (): Promise<void> => pause(50 + this.#chance.below(150))

  #write(path: string, flags: string, at: number): Made {
    const bytes = this.#content()
    const whole = join(this.directory, path)
    const file = openSync(whole, flags)
    writeSync(file, bytes, 0, bytes.length, at)
    closeSync(file)
    const closedAt = performance.now()
    return { path, at, bytes, closedAt, modifiedUs: Number(statSync(whole, { bigint: true }).mtimeNs / 1000n) }
  }

  #content = (): Buffer => randomLooking(this.#chance.below(0xffff_ffff), fileBytes)
}

const smallPath = (number: number): string => `folder-${number % 20}/file-${number}.txt`

function writeLarge(path: string, bytes: number): void {
  const file = openSync(path, 'w')
  const piece = randomLooking(7, 16 * mebibyte)
  for (let at = 0; at < bytes; at += piece.length) {
    // Every piece differs in every kibibyte, so that none is a copy of another.
    for (let offset = 0; offset < piece.length; offset += 1024)
      piece.writeUInt32LE(((at / 1024) | 0) + offset / 1024, offset)
    writeSync(file, piece, 0, piece.length, at)
  }
  ftruncateSync(file, bytes)
  closeSync(file)
}
