import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { Malformed } from '../../base/bytes.ts'
import { type TarEntry, TarReader } from './tar-reader.ts'

interface Member {
  readonly name: string
  readonly type: string
  readonly content: Buffer
  readonly mode: number
  readonly uid: number
  readonly modified: number
  readonly target: string
}

const octalOrBinary = (value: number, length: number): Buffer => {
  const digits = value.toString(8)
  if (digits.length < length) return Buffer.from(`${digits.padStart(length - 1, '0')} `, 'latin1')
  const bytes = Buffer.alloc(length)
  bytes.writeUInt32BE(value % 2 ** 32, length - 4)
  bytes.writeUInt32BE(Math.floor(value / 2 ** 32), length - 8)
  bytes[0] = (bytes[0] as number) | 0x80
  return bytes
}

/** As the server's tarCreateHeader() does it. `size` lies about the content's length. */
function headerOf({ name, type, content, mode, uid, modified, target }: Member, size = content.length): Buffer {
  const header = Buffer.alloc(512)
  header.write(name, 0, 'latin1')
  octalOrBinary(mode, 8).copy(header, 100)
  octalOrBinary(uid, 8).copy(header, 108)
  octalOrBinary(uid + 1, 8).copy(header, 116)
  octalOrBinary(size, 12).copy(header, 124)
  octalOrBinary(modified, 12).copy(header, 136)
  header.write(type, 156, 'latin1')
  header.write(target, 157, 'latin1')
  header.write('ustar\x0000', 257, 'latin1')
  return signed(header)
}

function signed(header: Buffer): Buffer {
  header.fill(0x20, 148, 156)
  octalOrBinary(
    header.reduce((sum, byte) => sum + byte, 0),
    8,
  ).copy(header, 148)
  return header
}

const archiveOf = (members: readonly Member[], isTerminated: boolean): Buffer =>
  Buffer.concat([
    ...members.flatMap((member) => [
      headerOf(member),
      member.content,
      Buffer.alloc((512 - (member.content.length % 512)) % 512),
    ]),
    Buffer.alloc(isTerminated ? 1024 : 0),
  ])

/** Fed in the pieces that `cuts` make of it, always in the same memory, as it comes from a connection. */
function readAll(archive: Buffer, isTerminated: boolean, cuts: readonly number[] = []) {
  const reader = new TarReader()
  const found: { entry: TarEntry; content: Buffer; ends: number }[] = []
  const ends = [...cuts.map((cut) => cut % (archive.length + 1)), archive.length].sort((a, b) => a - b)
  const reused = Buffer.alloc(archive.length)
  for (const [index, end] of ends.entries()) {
    const length = archive.copy(reused, 0, ends[index - 1] ?? 0, end)
    for (const item of reader.read(reused.subarray(0, length))) {
      if (item.kind === 'entry') {
        found.push({ entry: item.entry, content: Buffer.alloc(0), ends: 0 })
        continue
      }
      const last = found.at(-1)
      assert.ok(last)
      last.content = Buffer.concat([last.content, item.bytes])
      if (item.isLast) last.ends++
    }
    reused.fill(0xee)
  }
  reader.end(isTerminated)
  return found
}

const member: fc.Arbitrary<Member> = fc
  .record({
    name: fc.stringMatching(/^[a-z0-9_]{1,9}(\/[a-z0-9_]{1,9}){0,4}$/),
    type: fc.constantFrom('0', '0', '2', '5'),
    content: fc.oneof(fc.uint8Array({ maxLength: 40 }), fc.uint8Array({ minLength: 500, maxLength: 1600 })),
    mode: fc.integer({ min: 0, max: 0o7777 }),
    uid: fc.oneof(fc.nat(1000), fc.constant(0xffff_fffe)),
    modified: fc.oneof(fc.nat(), fc.constant(2 ** 36)),
  })
  .map(({ name, type, content, ...rest }) => ({
    ...rest,
    type,
    name: type === '5' ? `./${name}/` : name,
    content: Buffer.from(type === '0' ? content : []),
    target: type === '2' ? '/some/where' : '',
  }))

test('entries come out as they went in, wherever the stream is cut', () => {
  fc.assert(
    fc.property(
      fc.array(member, { maxLength: 8 }),
      fc.boolean(),
      fc.array(fc.nat(), { maxLength: 20 }),
      (members, isTerminated, cuts) => {
        const found = readAll(archiveOf(members, isTerminated), isTerminated, cuts)
        assert.equal(found.length, members.length)
        for (const [index, { entry, content, ends }] of found.entries()) {
          const { name, type, mode, uid, modified, target, content: wanted } = members[index] as Member
          const { path, ...rest } = entry
          assert.equal(path, name.replace(/^\.\/|\/$/g, ''))
          assert.deepEqual(rest, {
            type: { '0': 'file', '2': 'symlink', '5': 'directory' }[type],
            bytes: wanted.length,
            mode,
            uid,
            gid: uid + 1,
            modifiedNs: BigInt(modified) * 1_000_000_000n,
            target,
          })
          assert.ok(content.equals(wanted))
          assert.equal(ends, type === '0' ? 1 : 0)
        }
      },
    ),
  )
})

test('whatever arrives, it is read or refused as malformed', () => {
  fc.assert(
    fc.property(
      fc.array(member, { minLength: 1, maxLength: 4 }),
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 6 }),
      fc.boolean(),
      (members, changes, isSigned) => {
        const archive = archiveOf(members, true)
        for (const [at, byte] of changes) archive[at % archive.length] = byte
        // With a checksum that is right, what is wrong gets further.
        if (isSigned) signed(archive.subarray(0, 512))
        try {
          readAll(archive, true)
        } catch (error) {
          assert.ok(error instanceof Malformed, String(error))
        }
      },
    ),
    { numRuns: 2000 },
  )
})

const file: Member = {
  name: 'f',
  type: '0',
  content: Buffer.from('abc'),
  mode: 0o600,
  uid: 1,
  modified: 1,
  target: '',
}

test('what PostgreSQL does not write is refused', () => {
  const refused = (header: Buffer): void => assert.throws(() => readAll(header, false), Malformed)
  for (const type of ['1', '3', '6', '7', 'x', 'g', 'L', '\0'])
    refused(headerOf({ ...file, type, content: Buffer.alloc(0) }))
  for (const name of ['', '/etc/passwd', '../x', 'a/../b', 'a//b', 'a/', '.', 'x'.repeat(100)])
    refused(headerOf({ ...file, name, content: Buffer.alloc(0) }))
  refused(headerOf({ ...file, type: '5', name: 'd/' }))
  refused(headerOf({ ...file, type: '2', content: Buffer.alloc(0) }))
  refused(headerOf({ ...file, target: 'x' }))
  const gnu = headerOf(file)
  gnu.write('ustar  \0', 257, 'latin1')
  refused(signed(gnu))
  const prefixed = headerOf(file)
  prefixed.write('some/where', 345, 'latin1')
  refused(signed(prefixed))
  const negative = headerOf(file)
  negative.fill(0xff, 124, 136)
  refused(signed(negative))
})

test('sizes beyond what octal digits can say are read', () => {
  const bytes = 20 * 1024 ** 3
  const [item] = new TarReader().read(headerOf(file, bytes))
  assert.ok(item?.kind === 'entry' && item.entry.bytes === bytes)
})

test('an archive that is cut off, that lacks its end or goes on after it is refused', () => {
  const whole = archiveOf([file], true)
  assert.throws(() => readAll(whole.subarray(0, 514), false), /cut off/)
  assert.throws(() => readAll(whole.subarray(0, 600), false), /cut off/)
  assert.throws(() => readAll(whole.subarray(0, 1024), true), /without its end/)
  assert.throws(() => readAll(whole.subarray(0, 1536), true), /without its end/)
  assert.equal(readAll(whole.subarray(0, 1024), false).length, 1)
  assert.throws(() => readAll(Buffer.concat([whole, whole]), true), /goes on/)
})

test('what another program wrote in the same format is read the same', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-tar-'))
  t.after(() => rmSync(folder, { recursive: true }))
  mkdirSync(join(folder, 'in/deep'), { recursive: true })
  writeFileSync(join(folder, 'in/deep/file'), 'x'.repeat(1000))
  writeFileSync(join(folder, 'in/empty'), '')
  symlinkSync('/else/where', join(folder, 'in/link'))
  const { stdout, status } = spawnSync('tar', ['-c', '--format=ustar', '--sort=name', '-C', folder, './in'])
  assert.equal(status, 0)
  assert.deepEqual(
    readAll(stdout, true).map(({ entry, content }) => [entry.path, entry.type, content.length, entry.target]),
    [
      ['in', 'directory', 0, ''],
      ['in/deep', 'directory', 0, ''],
      ['in/deep/file', 'file', 1000, ''],
      ['in/empty', 'file', 0, ''],
      ['in/link', 'symlink', 0, '/else/where'],
    ],
  )
})
