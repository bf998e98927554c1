import assert from 'node:assert/strict'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'

const root = join(import.meta.dirname, '..')
const pages = ['*.md', 'docs/**/*.md', 'bench/*.md'].flatMap((glob) => globSync(glob, { cwd: root }))
const read = (path: string): string => readFileSync(join(root, path), 'utf8')

test('every link of a page to a file leads to one', () => {
  const broken = pages.flatMap((page) =>
    [...read(page).matchAll(/\]\((?!\w+:|#)([^)#\s]+)/g)]
      .map(([, link = '']) => link)
      .filter((link) => !existsSync(join(root, dirname(page), link)))
      .map((link) => `${page}: ${link}`),
  )
  assert.deepEqual(broken, [])
})

test('every note of the changelog says first what kind of change it is', () => {
  const notes = globSync('changelog/unreleased/*.md', { cwd: root })
  assert.deepEqual(
    notes.filter((note) => !/^(?:Added|Changed|Fixed|Removed|Security): \S/.test(read(note))),
    [],
  )
})

test('every picture of the console is shown to the operator, in each language', () => {
  for (const [page, language] of [
    ['docs/operate/console.md', 'en'],
    ['docs/operate/console.zh-CN.md', 'zh-CN'],
  ] as const) {
    const shown = [...read(page).matchAll(/\.\.\/(screenshots\/[\w.-]+\.png)/g)].map(([, path]) => `docs/${path}`)
    assert.deepEqual(shown.toSorted(), globSync(`docs/screenshots/*.${language}.png`, { cwd: root }).toSorted())
  }
})
