import { Chance } from './chance.ts'

/**
 * Text that compresses as source code does: words by Zipf's law, most of them a directory's own, in lines of a few
 * shapes, under one of a few licences.
 */
export class SourceText {
  readonly #chance: Chance
  readonly #own: readonly string[]
  readonly #pieces: readonly string[]
  readonly #licence: string

  /** `directory` decides the words and the licence. */
  constructor(directory: number, chance: Chance) {
    const local = new Chance(directory * 7919 + 11)
    this.#chance = chance
    this.#own = Array.from({ length: 180 }, () => language[local.below(language.length)] as string)
    const prefix = local.of(this.#own)
    this.#pieces = Array.from({ length: 60 }, () => `${prefix}_${local.of(this.#own)}`)
    this.#licence = licences[local.zipf(licences.length)] as string
  }

  file(bytes: number): string {
    const lines = [this.#licence]
    let length = this.#licence.length
    while (length < bytes) {
      const line = this.line()
      lines.push(line)
      length += line.length
    }
    return lines.join('').slice(0, bytes)
  }

  line(): string {
    const { below, word, name } = this
    switch (below(20)) {
      case 0:
        return `static int ${name()}(struct ${word()} *${word()}, unsigned int ${word()})\n{\n`
      case 1:
        return `\tstruct ${word()} *${word()} = ${name()}(${word()});\n`
      case 2:
        return `\tif (!${word()})\n\t\treturn -${below(2) === 0 ? 'EINVAL' : 'ENOMEM'};\n\n`
      case 3:
        return `\tif (${word()}->${word()} & ${word().toUpperCase()}_${word().toUpperCase()})\n`
      case 4:
        return `\t\t${name()}(${word()}, ${word()}->${word()});\n`
      case 5:
        return `\tfor (${word()} = 0; ${word()} < ${word()}->${word()}; ${word()}++) {\n`
      case 6:
        return `#define ${name().toUpperCase()}\t\t0x${below(0xffff).toString(16).padStart(8, '0')}\n`
      case 7:
        return `\t/* ${word()} the ${word()} of ${word()} ${word()} before the ${word()} is ${word()} */\n`
      case 8:
        return `\t{ .${word()} = ${below(1000)}, .${word()} = "${word()}-${word()}", .${word()} = ${name()} },\n`
      case 9:
        return `\treturn ${word()};\n}\n\n`
      case 10:
        return `  const ${word()} = await ${word()}.${word()}(${word()})\n`
      case 11:
        return `export function ${word()}(${word()}, { ${word()} = ${below(100)} } = {}) {\n`
      case 12:
        return ` * @${word()}: ${word()} ${word()} to ${word()} when ${word()} ${word()}\n`
      case 13:
        return `\t${name()}->${word()} = ${word()} + ${below(4096)};\n`
      case 14:
        return `#include <${word()}/${name()}.h>\n`
      default:
        return `\t${word()}->${word()} = ${name()}(${word()}, ${word()});\n`
    }
  }

  readonly below = (limit: number): number => this.#chance.below(limit)
  readonly name = (): string => this.#pieces[this.#chance.zipf(this.#pieces.length)] as string
  readonly word = (): string =>
    this.#chance.fraction() < 0.85
      ? (this.#own[this.#chance.zipf(this.#own.length)] as string)
      : (language[this.#chance.zipf(language.length)] as string)
}

const language = makeLanguage()
const licences = makeLicences()

function makeLanguage(): readonly string[] {
  const chance = new Chance(4711)
  const consonants = ['b', 'c', 'd', 'f', 'g', 'l', 'm', 'n', 'p', 'r', 's', 't', 'v', 'st', 'tr', 'pl', 'ch', 'x', 'k']
  const words = new Set<string>()
  while (words.size < 30_000) {
    let word = ''
    for (let syllable = 1 + chance.zipf(4); syllable >= 0; syllable--) {
      word += chance.of(consonants) + chance.of(['a', 'e', 'i', 'o', 'u'])
    }
    words.add(word)
  }
  return [...words]
}

function makeLicences(): readonly string[] {
  const chance = new Chance(815)
  return Array.from({ length: 40 }, (_, number) => {
    const lines = Array.from(
      { length: number % 5 === 0 ? 18 : 3 },
      () => ` * ${Array.from({ length: 9 }, () => chance.of(language)).join(' ')}\n`,
    )
    return `/*\n${lines.join('')} */\n\n`
  })
}
