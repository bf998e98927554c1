import assert from 'node:assert/strict'
import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { isCode } from '../base/errors.ts'
import { storeContract } from './contract.ts'
import { directoryStore } from './directory.ts'
import { lockDirectory } from '../base/lock-directory.ts'

const scratch = () => mkdtemp(join(tmpdir(), 'tidemark-store-'))

storeContract('directory', async () => {
  const folder = await scratch()
  return {
    store: await directoryStore(join(folder, 'made', 'here')),
    reopen: () => directoryStore(join(folder, 'made', 'here')),
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true }),
  }
})

test('files of a directory are for their owner alone', async () => {
  const folder = await scratch()
  try {
    const store = await directoryStore(join(folder, 'store'))
    await store.replace('deep/file', Buffer.from('secret'))
    await using _growing = await store.create('deep/growing')
    for (const name of ['deep/file', 'deep/growing']) {
      assert.equal((await stat(join(folder, 'store', name))).mode & 0o777, 0o600)
    }
    for (const name of ['', 'deep']) assert.equal((await stat(join(folder, 'store', name))).mode & 0o777, 0o700)
  } finally {
    await rm(folder, { recursive: true })
  }
})

test('many more parts than the system takes at once are appended whole', async () => {
  const folder = await scratch()
  try {
    const store = await directoryStore(folder)
    await using file = await store.create('parts')
    const parts = Array.from({ length: 5000 }, (_, index) => Buffer.alloc(index % 7, index))
    await file.append(parts)
    assert.deepEqual(await store.read('parts', 0, 100_000), Buffer.concat(parts))
  } finally {
    await rm(folder, { recursive: true })
  }
})

test('a locked directory is refused to a second one until the lock is let go', async () => {
  const folder = await scratch()
  try {
    {
      using _lock = lockDirectory(folder)
      assert.throws(
        () => lockDirectory(folder),
        (error) => isCode(error, 'already-running'),
      )
    }
    using _again = lockDirectory(folder)
  } finally {
    await rm(folder, { recursive: true })
  }
})
