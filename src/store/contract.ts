import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isCode } from '../base/errors.ts'
import type { Store } from './store.ts'

export interface OpenedStore extends AsyncDisposable {
  readonly store: Store
  /** The same files, as the next process that opens them sees them; `store` is not used any more. */
  readonly reopen: () => Promise<Store>
}

/** What every store keeps, whatever it is made of. */
export function storeContract(kind: string, open: () => Promise<OpenedStore>): void {
  const bytes = (text: string): Buffer => Buffer.from(text, 'utf8')

  test(`${kind}: what was appended and synced is there in the order of the calls, also for the next process`, async () => {
    await using opened = await open()
    const file = await opened.store.create('folder/file')
    const appends = Array.from({ length: 100 }, (_, index) => file.append([bytes(`${index},`), bytes(';')]))
    assert.equal(file.bytes, 390)
    await Promise.all([...appends, file.sync()])
    await file[Symbol.asyncDispose]()
    const expected = Array.from({ length: 100 }, (_, index) => `${index},;`).join('')
    for (const look of [async () => opened.store, opened.reopen]) {
      const store = await look()
      assert.equal((await store.read('folder/file', 0, 1000)).toString(), expected)
      assert.equal((await store.read('folder/file', 2, 5)).toString(), expected.slice(2, 7))
      assert.equal((await store.read('folder/file', 1000, 5)).length, 0)
      assert.equal(await store.size('folder/file'), 390)
    }
  })

  test(`${kind}: a name is created once`, async () => {
    await using opened = await open()
    await using _file = await opened.store.create('file')
    await assert.rejects(opened.store.create('file'), (error) => isCode(error, 'already-exists'))
  })

  test(`${kind}: what is absent is told as such, and removing it is fine`, async () => {
    await using opened = await open()
    const { store } = opened
    for (const ask of [store.read('a/b', 0, 1), store.size('a/b'), store.extend('a/b'), store.truncate('a/b', 0)]) {
      await assert.rejects(ask, (error) => isCode(error, 'not-found'))
    }
    await store.remove('a/b')
    assert.deepEqual(await store.list('a'), [])
  })

  test(`${kind}: a folder is listed with all below it, ascending by name`, async () => {
    await using opened = await open()
    const { store } = opened
    for (const name of ['b/2', 'b/10', 'b/1/x', 'a', 'ba']) await store.replace(name, bytes(name))
    assert.deepEqual(
      (await store.list('')).map(({ name }) => name),
      ['a', 'b/1/x', 'b/10', 'b/2', 'ba'],
    )
    assert.deepEqual(await store.list('b'), [
      { name: 'b/1/x', bytes: 5 },
      { name: 'b/10', bytes: 4 },
      { name: 'b/2', bytes: 3 },
    ])
  })

  test(`${kind}: a file that was left is cut and goes on at its end`, async () => {
    await using opened = await open()
    const file = await opened.store.create('file')
    await file.append([bytes('0123456789')])
    await file.sync()
    await file[Symbol.asyncDispose]()
    const store = await opened.reopen()
    await store.truncate('file', 4)
    await using more = await store.extend('file')
    assert.equal(more.bytes, 4)
    await more.append([bytes('ab')])
    await more.sync()
    assert.equal((await store.read('file', 0, 100)).toString(), '0123ab')
  })

  test(`${kind}: a file is replaced whole`, async () => {
    await using opened = await open()
    await opened.store.replace('f', bytes('the old form, which is longer'))
    await opened.store.replace('f', bytes('the new one'))
    const store = await opened.reopen()
    assert.equal((await store.read('f', 0, 100)).toString(), 'the new one')
    assert.deepEqual(await store.list(''), [{ name: 'f', bytes: 11 }])
  })

  test(`${kind}: what was removed is gone`, async () => {
    await using opened = await open()
    await opened.store.replace('f', bytes('x'))
    await opened.store.remove('f')
    await opened.store.remove('f')
    assert.deepEqual(await (await opened.reopen()).list(''), [])
  })

  test(`${kind}: no name leads out of the store`, async () => {
    await using opened = await open()
    const { store } = opened
    for (const name of ['', '/etc/passwd', '../up', 'a/../../up', 'a//b', 'a/', '.', 'Upper', 'nul\0', 'x.replacing']) {
      await assert.rejects(async () => store.read(name, 0, 1), /broken invariant/, name)
      await assert.rejects(async () => store.replace(name, bytes('x')), /broken invariant/, name)
    }
  })

  test(`${kind}: room is told`, async () => {
    await using opened = await open()
    const free = await opened.store.free()
    assert.ok(free > 0 && free <= (await opened.store.capacity()))
  })
}
