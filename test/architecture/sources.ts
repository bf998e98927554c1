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

/** All TypeScript that is ours. */
export function readSources(root: string): Source[] {
  return globSync(['{src,test,bench,demo,scripts,web}/**/*.ts', 'web/**/*.tsx'], {
    cwd: root,
    exclude: (path) => path.endsWith('node_modules') || path === 'web/dist',
  })
    .toSorted()
    .map((path) => readSource(root, path))
}

/** Programs that are started by their name: the scripts, and what the scripts, package.json and web's page speak of. */
export function readEntries(root: string): string[] {
  const named = ['package.json', ...globSync('scripts/*.mjs', { cwd: root })]
    .flatMap((file) => readFileSync(join(root, file), 'utf8').match(/[\w./-]+\.ts\b/g) ?? [])
    .filter((path) => existsSync(join(root, path)))
  return [...named, ...globSync(['scripts/*.ts', 'web/vite.config.ts', 'web/src/main.tsx'], { cwd: root })]
}

export const lineAt = (text: string, index: number): number => text.slice(0, index).split('\n').length

function readSource(root: string, path: string): Source {
  const blanked = blank(readFileSync(join(root, path), 'utf8'))
  return { path, ...blanked, imports: importsOf(path, blanked) }
}

/** Ways in which a file names another; the name is blanked out where these are looked for. */
const importPatterns: readonly RegExp[] = [
  // import … from 'x', export … from 'x', import 'x', import('x')
  /\b(?:(?:import|export)\s+(?:type\s)?(?:[\w\s{},*$]*?\bfrom\s*)?|import\s*\(\s*)(?<quoted>'\s*'|"\s*")/g,
  // a worker thread: new URL('x', import.meta.url), or new URL(`x${extname(import.meta.url)}`, import.meta.url)
  /\bnew\s+URL\(\s*(?<quoted>'\s*'|`\s*\$\{extname\(import\.meta\.url\)\}`)\s*,\s*import\.meta\.url/g,
  // a program: join(import.meta.dirname, 'x')
  /\bimport\.meta\.dirname\s*,\s*(?<quoted>'\s*')/g,
]

function importsOf(path: string, { codeOnly, withoutComments }: Blanked): Import[] {
  return importPatterns.flatMap((pattern) =>
    [...codeOnly.matchAll(pattern)].map((match) => {
      const quoted = match.groups?.['quoted'] ?? ''
      const start = match.index + match[0].indexOf(quoted)
      const specifier = withoutComments
        .slice(start + 1, start + quoted.length - 1)
        .replace('${extname(import.meta.url)}', '.ts')
      const relative = specifier.startsWith('.') || match[0].startsWith('import.meta')
      const of = relative ? normalize(join(dirname(path), specifier)) : specifier
      return { of, relative, line: lineAt(codeOnly, start) }
    }),
  )
}
