import assert from 'node:assert/strict'
import { lstatSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { scratchFolder, toBinary } from './scratch.ts'
import { setTimes } from './times.ts'

test('times are set to the nanosecond, also before the epoch', (t) => {
  const file = join(scratchFolder(t), 'file')
  writeFileSync(file, '')
  for (const [accessed, modified] of [
    [1_700_000_000_123_456_789n, 1_600_000_000_999_999_999n],
    [0n, 1n],
    [-1n, -1_500_000_000n],
  ] as const) {
    setTimes(file, { accessed, modified })
    const stat = lstatSync(file, { bigint: true })
    assert.deepEqual([stat.atimeNs, stat.mtimeNs], [accessed, modified])
  }
})

test('a time that is not given stays as it was', (t) => {
  const file = join(scratchFolder(t), 'file')
  writeFileSync(file, '')
  setTimes(file, { accessed: 5n, modified: 6n })
  setTimes(file, { modified: 7n })
  setTimes(file, { accessed: undefined })
  const stat = lstatSync(file, { bigint: true })
  assert.deepEqual([stat.atimeNs, stat.mtimeNs], [5n, 7n])
})

test('a symbolic link gets its own times, even one that leads nowhere, under a name that is not UTF-8', (t) => {
  const link = `${toBinary(scratchFolder(t))}/\xff\xfe`
  symlinkSync('nowhere', Buffer.from(link, 'latin1'))
  setTimes(link, { accessed: 1n, modified: 1_234_567_890_987_654_321n })
  assert.equal(lstatSync(Buffer.from(link, 'latin1'), { bigint: true }).mtimeNs, 1_234_567_890_987_654_321n)
})
