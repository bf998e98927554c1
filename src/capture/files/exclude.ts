import { type BinaryString, fromUtf8, type TreePath } from '../../model/path.ts'

/**
 * Patterns in gitignore's syntax (gitignore(5)), relative to one protected path: `#` comments, `!` takes back, a `/`
 * at the end means directories only, a `/` elsewhere anchors to the protected path, `*` and `?` stop at `/`, `**` does
 * not, `[…]` is a class. The last pattern that matches decides. What is below an excluded directory is never looked
 * at, so it cannot be taken back.
 */
export class Exclusion {
  readonly #rules: readonly Rule[]

  constructor(patterns: readonly string[]) {
    this.#rules = patterns.map(compile).filter((rule) => rule !== undefined)
  }

  /** `path` is relative to the protected path and not ''. Asks for this path alone, not for the directories above. */
  excludes(path: TreePath, isDirectory: boolean): boolean {
    let excluded = false
    for (const rule of this.#rules) {
      if (rule.excludes !== excluded && (isDirectory || !rule.directoriesOnly) && rule.matches.test(path)) {
        excluded = rule.excludes
      }
    }
    return excluded
  }
}

interface Rule {
  readonly excludes: boolean
  readonly directoriesOnly: boolean
  readonly matches: RegExp
}

function compile(pattern: string): Rule | undefined {
  let text: string = fromUtf8(pattern.replace(/(?<!\\) +$/, ''))
  if (text === '' || text.startsWith('#')) return undefined
  const excludes = !text.startsWith('!')
  if (!excludes) text = text.slice(1)
  const directoriesOnly = text.endsWith('/')
  if (directoriesOnly) text = text.slice(0, -1)
  const anchored = text.includes('/')
  if (text.startsWith('/')) text = text.slice(1)
  if (text === '') return undefined
  const matches = new RegExp(`^${anchored ? '' : '(?:.*/)?'}${expression(text as BinaryString)}$`, 's')
  return { excludes, directoriesOnly, matches }
}

function expression(pattern: BinaryString): string {
  let out = ''
  for (let at = 0; at < pattern.length; at++) {
    const rest = pattern.slice(at)
    const character = pattern[at] as string
    if (rest.startsWith('**/') && (at === 0 || pattern[at - 1] === '/')) {
      out += '(?:.*/)?'
      at += 2
    } else if (rest === '**' && (at === 0 || pattern[at - 1] === '/')) {
      out += '.+'
      at += 1
    } else if (character === '*') {
      out += '[^/]*'
      while (pattern[at + 1] === '*') at++
    } else if (character === '?') {
      out += '[^/]'
    } else if (character === '[') {
      const group = /^\[([!^]?)(\]?(?:\\.|[^\]\\])*)\]/s.exec(rest)
      if (group === null) {
        out += '\\['
      } else {
        const body = (group[2] as string).replace(/\\(.)/gs, '$1').replace(/[\\\][^]/g, '\\$&')
        out += group[1] === '' ? `(?!/)[${body}]` : `[^/${body}]`
        at += group[0].length - 1
      }
    } else if (character === '\\' && at + 1 < pattern.length) {
      out += literal(pattern[++at] as string)
    } else {
      out += literal(character)
    }
  }
  return out
}

const literal = (character: string): string => character.replace(/[\\^$.*+?()[\]{}|/]/, '\\$&')
