import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decodeText, imageTypeOf } from './decode.ts'

test('text is read as UTF-8, else as GB18030; what is neither is not shown as text', () => {
  const gb = Uint8Array.of(0xd6, 0xd0, 0xce, 0xc4, 0x0a)
  assert.equal(decodeText(gb, 'auto'), '中文\n')
  assert.equal(decodeText(new TextEncoder().encode('中文 é'), 'auto'), '中文 é')
  assert.equal(decodeText(Uint8Array.of(0xff, 0xfe, 0x2d, 0x4e), 'auto'), '中')
  assert.equal(decodeText(Uint8Array.of(0x7f, 0x45, 0x4c, 0x46, 0, 1), 'auto'), undefined)
  assert.equal(decodeText(gb, 'utf-8')?.includes('\ufffd'), true)
})

test('a preview that ends within a character is still text', () => {
  const bytes = new TextEncoder().encode('文件')
  assert.equal(decodeText(bytes.slice(0, bytes.length - 1), 'auto'), '文')
})

test('pictures are told by their names, and a document is none', () => {
  assert.equal(imageTypeOf('a.b/Scan.JPG'), 'image/jpeg')
  for (const name of ['logo.svg', 'page.html', 'README', 'png']) assert.notEqual(imageTypeOf(name), 'image/svg+xml')
  assert.equal(imageTypeOf('logo.svg'), undefined)
})
