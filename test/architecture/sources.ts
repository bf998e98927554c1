import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { type Blanked, blank } from './blank.ts'

export interface Source extends Blanked {
  /** Relative to the root of the project, with '/'. */
  readonly path: string
  readonly imports: readonly Import[]
}

export interface Import {
  /** The path of the file for a relative import, else the specifier as written. */
  readonly of: string
  readonly relative: boolean
  readonly line: number
}

/** All TypeScript that is ours. AssemblyScript is another language: the folder named assembly is left out. */
export function readSources(root: string): Source[] {
  return globSync('{src,test,bench,demo}/**/*.ts', { cwd: root })
    .filter((path) => !path.split('/').includes('assembly'))
    .toSorted()
    .map((path) => readSource(root, path))
}

/** Files that are named where no import can tell: in package.json and by the scripts. */
export function readEntries(root: string): string[] {
  return ['package.json', ...globSync('scripts/*.mjs', { cwd: root })]
    .flatMap((file) => readFileSync(join(root, file), 'utf8').match(/[\w./-]+\.ts\b/g) ?? [])
    .filter((path) => existsSync(join(root, path)))
}

export const lineAt = (text: string, index: number): number => text.slice(0, index).split('\n').length

function readSource(root: string, path: string): Source {
  const blanked = blank(readFileSync(join(root, path), 'utf8'))
  return { path, ...blanked, imports: importsOf(path, blanked) }
}

/** `import … from 'x'`, `export … from 'x'`, `import 'x'`, `import('x')` and `new URL('x', import.meta.url)`. */
const importPattern =
  /\b(?:(?:import|export)\s+(?:type\s)?(?:[\w\s{},*$]*?\bfrom\s*)?|import\s*\(\s*|\bnew\s+URL\(\s*)(?<quoted>(?<quote>['"])\s*\k<quote>)(?<rest>\s*,\s*import\.meta\.url)?/g

function importsOf(path: string, { codeOnly, withoutComments }: Blanked): Import[] {
  return [...codeOnly.matchAll(importPattern)].flatMap((match) => {
    const { quoted = '', rest } = match.groups ?? {}
    if (match[0].startsWith('new') && rest === undefined) return []
    const start = match.index + match[0].indexOf(quoted) + 1
    const specifier = withoutComments.slice(start, start + quoted.length - 2)
    const relative = specifier.startsWith('.')
    return {
      of: relative ? normalize(join(dirname(path), specifier)) : specifier,
      relative,
      line: lineAt(codeOnly, start),
    }
  })
}
