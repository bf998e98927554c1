import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { fromUtf8 } from '../../model/path.ts'
import type { ArchiveEntry } from './entry.ts'
import { encodeZip } from './zip.ts'

async function* bytesOf(...pieces: string[]): AsyncGenerator<Buffer> {
  for (const piece of pieces) yield Buffer.from(piece)
}

const place = (path: string) => ({
  path: fromUtf8(path),
  mode: 0o644,
  uid: 0,
  gid: 0,
  modifiedNs: 1_700_000_000_000_000_000n,
})

const file = (path: string, ...pieces: string[]): ArchiveEntry => ({
  ...place(path),
  type: 'file',
  bytes: Buffer.byteLength(pieces.join('')),
  content: bytesOf(...pieces),
})

async function written(t: TestContext, entries: Iterable<ArchiveEntry>, largeBytes?: number): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-zip-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const pieces: Buffer[] = []
  for await (const piece of encodeZip(
    (async function* () {
      yield* entries
    })(),
    largeBytes,
  ))
    pieces.push(piece)
  const path = join(folder, 'a.zip')
  writeFileSync(path, Buffer.concat(pieces))
  return path
}

const has = (program: string): boolean => spawnSync(program, ['--version']).error === undefined
const withPython = { skip: !has('python3') }

const python = (program: string, path: string): unknown =>
  JSON.parse(
    execFileSync('python3', [
      '-c',
      `import json, sys, zipfile\nz = zipfile.ZipFile(sys.argv[1])\n${program}`,
      path,
    ]).toString(),
  )

test('large files stand as ZIP64 has them, and are read by others', withPython, async (t) => {
  const entries = [
    file('a', 'x'.repeat(5000), 'y'),
    { ...place('dir'), type: 'directory' } as const,
    file('b', 'small'),
  ]
  const path = await written(t, entries, 100)
  const read = python(
    'print(json.dumps([[i.filename, i.file_size, z.read(i).decode()[-2:]] for i in z.infolist()]))',
    path,
  )
  assert.deepEqual(read, [
    ['a', 5001, 'xy'],
    ['dir/', 0, ''],
    ['b', 5, 'll'],
  ])
  if (has('unzip')) execFileSync('unzip', ['-t', '-q', path])
})

test('more entries than the old directory can count are all there', withPython, async (t) => {
  const path = await written(
    t,
    (function* () {
      for (let at = 0; at < 70_000; at++)
        yield { ...place(`d/${at}`), type: 'symlink', target: fromUtf8(`${at}`) } as const
    })(),
  )
  assert.deepEqual(python('print(json.dumps([len(z.infolist()), z.read("d/69999").decode()]))', path), [
    70_000,
    '69999',
  ])
  if (has('unzip')) assert.match(execFileSync('unzip', ['-Z', '-h', path]).toString(), /number of entries: 70000/)
})

test('an archive without anything is one, and times before 1980 are told as the first of it', withPython, async (t) => {
  assert.equal(python('print(len(z.infolist()))', await written(t, [])), 0)
  const old = { ...file('old', 'o'), modifiedNs: 0n }
  assert.deepEqual(
    python('print(json.dumps(z.infolist()[0].date_time))', await written(t, [old])),
    [1980, 1, 1, 0, 0, 0],
  )
})
