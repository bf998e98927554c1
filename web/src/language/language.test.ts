import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { parseSync } from 'vite'
import { en } from './en.ts'
import { zhCn } from './zh-CN.ts'

/** Where a person reads what stands there: as an attribute of an element, or as a property of what antd is given. */
const readNames = new Set([
  ...['title', 'label', 'placeholder', 'aria-label', 'aria-description', 'alt', 'message', 'hint', 'description'],
  ...['tooltip', 'extra', 'help', 'okText', 'cancelText', 'emptyText', 'text', 'content', 'subTitle', 'header', 'name'],
])
/** In an element of a form it is the name of the field, which nobody reads. */
const attributesNotRead = new Set(['name', 'content'])
const propertiesNotRead = new Set(['name'])
/** Signs that are the same in every language. */
const hasWord = /[\p{L}]{2}|\p{Script=Han}/u

const root = join(import.meta.dirname, '..')
const sources = globSync('**/*.{ts,tsx}', { cwd: root })
  .filter((path) => !path.startsWith('language/') && !path.endsWith('.test.ts'))
  .map((path) => ({ path, text: readFileSync(join(root, path), 'utf8') }))

test('no text that a person reads stands outside of the language files', () => {
  const found = sources.flatMap(({ path, text }) =>
    readTexts(parseSync(path, text).program).map((words) => `${path}: ${words.trim()}`),
  )
  assert.deepEqual(found, [])
})

test('every text of the language files is used', () => {
  const code = sources.map(({ text }) => text.replaceAll(/\s*\n\s*(?=\.)/g, '')).join('\n')
  const used = (path: readonly string[]): boolean =>
    new RegExp(String.raw`\bt\.${path.join(String.raw`\.`)}\b`).test(code) ||
    path.some((_, depth) => depth > 0 && takenWhole(code, path.slice(0, depth)))
  const found = leavesOf(en).filter((path) => !used(path))
  assert.deepEqual(
    found.map((path) => path.join('.')),
    [],
  )
})

test('the languages have the same texts, none of them empty, and only one is in Chinese characters', () => {
  assert.deepEqual(
    leavesOf(zhCn)
      .map((path) => path.join('.'))
      .toSorted(),
    leavesOf(en)
      .map((path) => path.join('.'))
      .toSorted(),
  )
  for (const path of leavesOf(en)) {
    for (const language of [en, zhCn]) assert.notEqual(written(language, path), '', path.join('.'))
    assert.doesNotMatch(written(en, path), /\p{Script=Han}/u, path.join('.'))
  }
})

test('what a person reads is found wherever it stands', () => {
  const found = (text: string): string[] => readTexts(parseSync('x.tsx', text).program)
  assert.deepEqual(
    found('const a = <p title="Hello">world {"again"} {`and ${1} more`} – {n > 1 ? "some" : t.a.b}</p>'),
    ['Hello', 'world ', 'again', 'and  more', 'some'],
  )
  assert.deepEqual(found('const columns = [{ title: "Name", key: "name", className: "wide" }]'), ['Name'])
  assert.deepEqual(found('const a = <p className="wide" id="x">{t.a.b} · {f(x)}</p>'), [])
})

/** A part that is taken by a computed name, or handed on as a whole. */
function takenWhole(code: string, path: readonly string[]): boolean {
  const written = path.join(String.raw`\.`)
  return new RegExp(String.raw`\bt\.${written}(?:\[|[,)}\s;])`).test(code)
}

interface Node {
  readonly type: string
  readonly [key: string]: unknown
}

function readTexts(node: unknown): string[] {
  if (Array.isArray(node)) return node.flatMap(readTexts)
  if (!isNode(node)) return []
  switch (node.type) {
    case 'JSXText':
      return words(node['value'])
    case 'JSXAttribute': {
      const name = nameOf(node['name'])
      if (readNames.has(name) && !attributesNotRead.has(name)) return valueTexts(node['value'])
      return isNode(node['value']) && node['value'].type === 'JSXExpressionContainer'
        ? readTexts(node['value']['expression'])
        : []
    }
    case 'JSXExpressionContainer':
      return valueTexts(node)
    case 'Property': {
      const name = nameOf(node['key'])
      return readNames.has(name) && !propertiesNotRead.has(name) ? valueTexts(node['value']) : readTexts(node['value'])
    }
    default:
      return Object.values(node).flatMap(readTexts)
  }
}

/** The texts among what an expression may come to. */
function valueTexts(node: unknown): string[] {
  if (!isNode(node)) return []
  switch (node.type) {
    case 'Literal':
      return words(node['value'])
    case 'TemplateLiteral': {
      const parts = node['quasis'] as readonly { readonly value: { readonly raw: string } }[]
      return [...words(parts.map(({ value }) => value.raw).join('')), ...readTexts(node['expressions'])]
    }
    case 'JSXExpressionContainer':
      return valueTexts(node['expression'])
    case 'ConditionalExpression':
      return [...readTexts(node['test']), ...valueTexts(node['consequent']), ...valueTexts(node['alternate'])]
    case 'LogicalExpression':
      return [...valueTexts(node['left']), ...valueTexts(node['right'])]
    default:
      return readTexts(node)
  }
}

const words = (value: unknown): string[] => (typeof value === 'string' && hasWord.test(value) ? [value] : [])

function nameOf(node: unknown): string {
  if (!isNode(node)) return ''
  return typeof node['name'] === 'string' ? node['name'] : typeof node['value'] === 'string' ? node['value'] : ''
}

const isNode = (value: unknown): value is Node => typeof value === 'object' && value !== null && 'type' in value

function leavesOf(part: object): string[][] {
  return Object.entries(part).flatMap(([key, value]) =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? leavesOf(value as object).map((rest) => [key, ...rest])
      : [[key]],
  )
}

/** The text at `path`; of one with parameters its source. */
function written(language: object, path: readonly string[]): string {
  let part: unknown = language
  for (const key of path) part = (part as Record<string, unknown>)[key]
  return String(part)
}
