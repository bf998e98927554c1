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
  return globSync('{src,test,bench,demo,scripts}/**/*.ts', { cwd: root })
    .filter((path) => !path.split('/').includes('assembly'))
    .toSorted()
    .map((path) => readSource(root, path))
}

/** Programs that are started by their name: the scripts, and what the scripts and package.json speak of. */
export function readEntries(root: string): string[] {
  const named = ['package.json', ...globSync('scripts/*.mjs', { cwd: root })]
    .flatMap((file) => readFileSync(join(root, file), 'utf8').match(/[\w./-]+\.ts\b/g) ?? [])
    .filter((path) => existsSync(join(root, path)))
  return [...named, ...globSync('scripts/*.ts', { cwd: root })]
}

export const lineAt = (text: string, index: number): number => text.slice(0, index).split('\n').length

function readSource(root: string, path: string): Source {
  const blanked = blank(readFileSync(join(root, path), 'utf8'))
  return { path, ...blanked, imports: importsOf(path, blanked) }
}

/** `import … from 'x'`, `export … from 'x'`, `import 'x'`, `import('x')` and `new URL('x', import.meta.url)`. */
const importPattern =
  /\b(?:(?:import|export)\s+(?:type\s)?(?:[\w\s{},*$]*?\bfrom\s*)?|import\s*\(\s*|\bnew\s+URL\(\s*)(?<quoted>(?<quote>['"])\s*\k<quote>)(?<rest>\s*,\s*import\.meta\.url)?/g

/** The file of a worker thread, which is called .ts here and .js once compiled: `./x${extname(import.meta.url)}`. */
const workerPattern = /\bnew\s+URL\(\s*(?<quoted>`\s*)\$\{extname\(import\.meta\.url\)\}`\s*,\s*import\.meta\.url/g

function importsOf(path: string, { codeOnly, withoutComments }: Blanked): Import[] {
  const found = (match: RegExpExecArray, read: (quoted: string) => string): Import => {
    const { quoted = '' } = match.groups ?? {}
    const start = match.index + match[0].indexOf(quoted)
    const specifier = read(withoutComments.slice(start, start + quoted.length))
    const relative = specifier.startsWith('.')
    const of = relative ? normalize(join(dirname(path), specifier)) : specifier
    return { of, relative, line: lineAt(codeOnly, start) }
  }
  const imports = [...codeOnly.matchAll(importPattern)]
    .filter((match) => !match[0].startsWith('new') || match.groups?.['rest'] !== undefined)
    .map((match) => found(match, (quoted) => quoted.slice(1, -1)))
  const workers = [...codeOnly.matchAll(workerPattern)].map((match) =>
    found(match, (quoted) => `${quoted.slice(1)}.ts`),
  )
  return [...imports, ...workers]
}
