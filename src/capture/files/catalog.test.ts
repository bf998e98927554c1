import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { moment } from '../../model/moment.ts'
import { sequence } from '../../model/sequence.ts'
import { Catalog } from './catalog.ts'
import { encodeCursor } from './cursor.ts'

const cursorAt = (us: number): Buffer =>
  encodeCursor({ version: 1, moment: moment(us), session: 'test', baseline: 'complete' })

test('with batches that are undone goes what was noted after them', (context) => {
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-catalog-'))
  context.after(() => rmSync(directory, { recursive: true }))
  const path = join(directory, 'catalog')
  const catalog = Catalog.create(path, { at: sequence(0), cursor: Buffer.alloc(0) })
  const write = (at: number, cursor: Buffer): void => {
    catalog.batches.begin(sequence(at))
    catalog.batches.commit(sequence(at), cursor)
  }
  catalog.batches.noteDrained(moment(10))
  write(1, cursorAt(25))
  // Something that was changed at 20 is captured by the next batch only, though the last change was written at 25.
  catalog.batches.noteDrained(moment(19))
  catalog.batches.noteGap(moment(5))
  write(2, cursorAt(40))
  catalog.batches.noteDrained(moment(50))
  catalog.batches.noteGap(undefined)
  catalog[Symbol.dispose]()
  using back = Catalog.resume(path, sequence(1), cursorAt(25))
  assert.deepEqual([back?.batches.drained, back?.batches.gap], [19, 5])
})
