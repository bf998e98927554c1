import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { MirrorLegs } from './mirror-leg.ts'

function blocksOf(t: TestContext): {
  blocks: string
  put(path: string, text?: string): void
  drop(path: string): void
} {
  const blocks = mkdtempSync(join(tmpdir(), 'tidemark-blocks-'))
  t.after(() => rmSync(blocks, { recursive: true }))
  return {
    blocks,
    put: (path, text) => {
      const at = join(blocks, path)
      mkdirSync(text === undefined ? at : join(at, '..'), { recursive: true })
      if (text !== undefined) writeFileSync(at, text)
    },
    drop: (path) => rmSync(join(blocks, path), { recursive: true }),
  }
}

test('a leg is told as the mirror has it, and as away also once the mirror has let go of it', (t) => {
  const { blocks, put, drop } = blocksOf(t)
  put('nbd0/backend', 'tidemark other\n')
  put('nbd0/holders/md9')
  put('md9/md/array_state', 'clean\n')
  put('nbd1/backend', 'tidemark ours\n')
  put('nbd1/holders')
  const legs = new MirrorLegs('tidemark ours', blocks)
  assert.deepEqual(legs.look(), { state: 'unknown' })
  put('nbd1/holders/md0')
  put('md0/md/array_state', 'active\n')
  put('md0/md/dev-nbd1/state', 'spare,write_mostly\n')
  assert.deepEqual(legs.look(), { state: 'copying', mirror: 'md0' })
  put('md0/md/dev-nbd1/state', 'in_sync,write_mostly\n')
  const { membership, ...seen } = legs.look()
  assert.deepEqual(seen, { state: 'in-sync', mirror: 'md0' })
  put('md0/md/dev-nbd1/state', 'faulty,write_mostly\n')
  assert.equal(legs.look().state, 'away')
  drop('nbd1/holders/md0')
  drop('md0/md/dev-nbd1')
  assert.deepEqual(legs.look(), { state: 'away', mirror: 'md0' })
  put('nbd1/holders/md0')
  put('md0/md/another')
  put('md0/md/dev-nbd1/state', 'in_sync\n')
  assert.notEqual(legs.look().membership, membership, 'it was away in between')
  drop('nbd1/holders/md0')
  drop('md0')
  assert.deepEqual(legs.look(), { state: 'unknown' }, 'the mirror is no more')
})

test('a partition of the device is a leg too', (t) => {
  const { blocks, put } = blocksOf(t)
  put('nbd1/backend', 'tidemark ours\n')
  put('nbd1/holders')
  put('nbd1/nbd1p1/holders/md0')
  put('md0/md/array_state', 'active\n')
  put('md0/md/dev-nbd1p1/state', 'in_sync\n')
  assert.equal(new MirrorLegs('tidemark ours', blocks).look().state, 'in-sync')
})
