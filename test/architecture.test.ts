import assert from 'node:assert/strict'
import { basename, dirname } from 'node:path'
import { test } from 'node:test'
import { blank } from './architecture/blank.ts'
import { lineAt, readEntries, readSources, type Source } from './architecture/sources.ts'

/** The rules that a machine can keep. A place that must break one is named here, with its reason. */

const root = dirname(import.meta.dirname)
const sources = readSources(root)
const browser = sources.filter(({ path }) => path.startsWith('web/src/') && !isRunByItself(path))
const shipped = sources.filter(({ path }) => path.startsWith('src/') && !isRunByItself(path))

/** Which folders of src a folder may import from, beside itself. docs/architecture.md says what each one holds. */
const mayImport: Record<string, readonly string[]> = {
  'base': [],
  'monitoring': ['base'],
  'model': ['base'],
  'format': ['base', 'model'],
  'api': ['base', 'model'],
  'http': ['base', 'api'],
  'nbd': ['base'],
  'store': ['base', 'model', 'format'],
  'vault': ['base', 'model', 'format', 'store'],
  'wire': ['base', 'model', 'format', 'api'],
  'capture': ['base', 'model', 'format', 'nbd'],
  'postgres-past': ['base', 'model', 'format'],
  'recover': ['base', 'model', 'format', 'nbd', 'postgres-past'],
  'agent': ['base', 'model', 'format', 'api', 'monitoring', 'store', 'wire', 'capture'],
  'vault-server': ['base', 'model', 'format', 'api', 'http', 'monitoring', 'store', 'vault', 'wire', 'postgres-past'],
  'console': ['base', 'model', 'api', 'http', 'monitoring', 'wire'],
  'cli': [
    'base',
    'model',
    'format',
    'nbd',
    'api',
    'monitoring',
    'store',
    'vault',
    'wire',
    'capture',
    'postgres-past',
    'recover',
    'agent',
    'vault-server',
    'console',
  ],
  'main.ts': ['base', 'model', 'api', 'wire', 'agent', 'vault-server', 'cli'],
}

/** Single imports that the table forbids and a reason allows: "importing file -> imported file". */
const allowedImports: Record<string, string> = {}

/** What only reaches the program through a door, so that tests can put a simulated world behind it. */
const doors: readonly {
  readonly what: string
  readonly calls: RegExp
  readonly open: readonly string[]
  readonly why: string
}[] = [
  {
    what: 'time',
    calls:
      /\bDate\.now\b|\bnew Date\(\s*\)|\bDate\(\s*\)|\bperformance\.now\b|\bprocess\.hrtime\b|\bset(?:Timeout|Interval)\(|\bnode:timers\b/g,
    open: [
      'src/base/clock.ts',
      // poll(2) blocks its thread, so no simulated clock could run beside it; it measures how long it still may.
      'src/base/syscalls/poll.ts',
      // The far side of the door of the network: how long a closed socket may linger is between us and the kernel.
      'src/wire/tls.ts',
    ],
    why: 'time comes from a Clock (base/clock.ts), which tests simulate',
  },
  {
    what: 'chance',
    calls:
      /\bMath\.random\b|\bcrypto\.random\w+|\bgetRandomValues\b|\bimport\s*\{[^}]*\brandom(?:Bytes|UUID|Int|Fill|FillSync)\b[^}]*\}/g,
    open: ['src/base/random.ts'],
    why: 'chance comes from a Random (base/random.ts), so that a seed repeats a run',
  },
  {
    what: 'the environment and the end of the process',
    calls: /\bprocess\.env\b|\bprocess\.exit\b|\bprocess\.exitCode\b|\bprocess\.argv\b/g,
    open: ['src/main.ts', 'src/cli/'],
    why: 'options are parsed once, at the edge; only main decides the exit status',
  },
  {
    what: 'the terminal',
    calls: /\bconsole\.\w+|\bprocess\.std(?:out|err)\b/g,
    open: ['src/main.ts', 'src/cli/'],
    why: 'only the outermost layer speaks to the user',
  },
]

/** Packages that one part alone uses; everything else goes through that part. */
const packageHomes: Record<string, readonly string[]> = {
  'koffi': ['src/base/syscalls/'],
  'commander': ['src/main.ts', 'src/cli/'],
  'fastify': ['src/http/', 'src/vault-server/', 'src/agent/', 'src/console/'],
  'pino': ['src/monitoring/'],
  'prom-client': ['src/monitoring/'],
  '@peculiar/x509': ['src/wire/'],
}

test('imports point one way', () => {
  const found = shippedAndTests().flatMap(({ path, imports }) =>
    imports
      .filter(({ relative, of }) => relative && of.startsWith('src/'))
      .filter(({ of }) => folderOf(of) !== folderOf(path) && !mayImport[folderOf(path)]?.includes(folderOf(of)))
      .filter(({ of }) => !(`${path} -> ${of}` in allowedImports))
      .map(({ of, line }) => `${path}:${line} imports ${of}`),
  )
  none(found, 'the table mayImport says which folder may import which; what both need belongs further down')
})

test('every folder of the source has its place in the table', () => {
  const folders = new Set(shipped.map(({ path }) => folderOf(path)))
  none(
    [...folders].filter((folder) => !(folder in mayImport)).map((folder) => `src/${folder}`),
    'mayImport leaves it out',
  )
})

test('the product imports nothing from its tests, benchmarks and demonstration', () => {
  const found = shipped.flatMap(({ path, imports }) =>
    imports
      .filter(({ relative, of }) => relative && of.endsWith('.ts') && !of.startsWith('src/'))
      .map(({ of, line }) => `${path}:${line} imports ${of}`),
  )
  none(found, 'what is shipped is src alone')
})

test('the browser part imports packages and itself, and of the product only types', () => {
  const found = browser.flatMap(({ path, imports, withoutComments }) =>
    imports
      .filter(({ of, relative }) => (relative ? !of.startsWith('web/src/') : of.startsWith('node:')))
      .filter(({ of, line }) => !(of.startsWith('src/api/') && isTypeImport(withoutComments, line)))
      .map(({ of, line }) => `${path}:${line} imports ${of}`),
  )
  none(found, 'it speaks the HTTP API; what it takes from src/api is "import type"')
})

test('kinds of capture know nothing of each other', () => {
  const kindOf = (path: string): string | undefined => /^src\/capture\/([^/]+)\//.exec(path)?.[1]
  const found = sources.flatMap(({ path, imports }) =>
    imports
      .filter(({ of }) => kindOf(path) !== undefined && kindOf(of) !== undefined && kindOf(path) !== kindOf(of))
      .map(({ of, line }) => `${path}:${line} imports ${of}`),
  )
  none(found, 'what two kinds share belongs in src/capture itself')
})

test('every file is used', () => {
  const byPath = new Map(sources.map((source) => [source.path, source]))
  const used = new Set<string>()
  const visit = (path: string): void => {
    const source = byPath.get(path)
    if (source === undefined || used.has(path)) return
    used.add(path)
    for (const { of } of source.imports) visit(of)
  }
  for (const entry of ['src/main.ts', ...readEntries(root), ...sources.map(({ path }) => path).filter(isRunByItself)])
    visit(entry)
  none(
    sources.map(({ path }) => path).filter((path) => !used.has(path)),
    'no program and no test reaches it: delete it, or use it',
  )
})

test('every relative import names a file that is there', () => {
  const paths = new Set(sources.map(({ path }) => path))
  const found = sources.flatMap(({ path, imports }) =>
    imports
      .filter(({ relative, of }) => relative && /^(src|test|bench|demo|scripts)\/.*\.ts$/.test(of) && !paths.has(of))
      .map(({ of, line }) => `${path}:${line} names ${of}`),
  )
  none(found, 'the file is not there')
})

for (const { what, calls, open, why } of doors) {
  test(`${what} comes through its door`, () => {
    const outside = shipped.filter(({ path }) => !open.some((door) => path.startsWith(door)))
    none(
      outside.flatMap((source) => matches(source, calls)),
      why,
    )
  })
}

for (const [name, homes] of Object.entries(packageHomes)) {
  test(`the package ${name} is used in ${homes.join(' and ')} only`, () => {
    const mention = new RegExp(String.raw`(['"])${name}(?:/[^'"]*)?\1`, 'g')
    const found = sources
      .filter(({ path }) => path.startsWith('src/') && !homes.some((home) => path.startsWith(home)))
      .flatMap((source) => matches(source, mention, source.withoutComments))
    none(found, 'other parts go through what stands there')
  })
}

test('types can be erased: no enum, no namespace, no decorator', () => {
  const found = sources.flatMap((source) =>
    matches(source, /^[ \t]*(?:export\s+)?(?:declare\s+)?(?:(?:const\s+)?enum|namespace)\s+\w+|^[ \t]*@\w+\(/gm),
  )
  none(found, 'Node.js runs the source as it is, by erasing the types')
})

test('files are named by what they hold', () => {
  const saysNothing = /^(?:(?:.*-)?(?:utils?|helpers?|common|manager|misc|shared)|index)$/
  const found = sources
    .map(({ path }) => path)
    .filter((path) => saysNothing.test(basename(path).replace(/(?:\.test)?\.tsx?$/, '')))
  none(found, 'the name says nothing, and such a file grows; an index.ts hides what is imported from where')
})

test('comments and strings are told from code', () => {
  const text = [
    "const a = 'Date.now()' // Date.now()",
    '/* Date.now() */ const b = `Date.now() ${Date.now() + `${{ c: "}" }.c}`} Date.now()`',
    "const d = /[/'] Date.now()/.test('\\'') ? 4 / 2 / 1 : \"Date.now()\"",
    'const e = Date.now()',
  ].join('\n')
  const { codeOnly } = blank(text)
  assert.equal(codeOnly.length, text.length)
  const lines = [...codeOnly.matchAll(/Date\.now\(\)/g)].map(({ index }) => lineAt(codeOnly, index))
  assert.deepEqual(lines, [2, 4])
})

/** Tests, and benchmarks that stand beside what they measure. */
function isRunByItself(path: string): boolean {
  return /\.(?:test|bench)\.ts$|^(?:bench\/[^/]+|test\/tree-user)\.ts$/.test(path)
}

/** A test beside the code is held to the imports of the folder it stands in. */
function shippedAndTests(): Source[] {
  return sources.filter(({ path }) => path.startsWith('src/'))
}

/** The import that ends at `line`. */
function isTypeImport(text: string, line: number): boolean {
  const upTo = text.split('\n').slice(0, line).join('\n')
  return upTo.slice(upTo.lastIndexOf('import ')).startsWith('import type ')
}

function folderOf(path: string): string {
  return path.split('/')[1] ?? ''
}

function matches({ path, codeOnly }: Source, pattern: RegExp, text = codeOnly): string[] {
  return [...text.matchAll(pattern)].map((match) => `${path}:${lineAt(text, match.index)} ${match[0].trim()}`)
}

function none(found: readonly string[], why: string): void {
  assert.ok(found.length === 0, `${why}\n${found.map((place) => `  ${place}`).join('\n')}`)
}
