import assert from 'node:assert/strict'
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { directoryOrigin } from '../../test/recovery/directory-origin.ts'
import { systemClock } from '../base/clock.ts'
import { isCode, TidemarkError } from '../base/errors.ts'
import { encodeManifest } from '../format/manifest.ts'
import type { Attributes, Change, Content } from '../model/change.ts'
import { moment } from '../model/moment.ts'
import { treePath } from '../model/path.ts'
import { sequence } from '../model/sequence.ts'
import type { RestoreOrigin } from './origin.ts'
import type { RestoreProgress } from './progress.ts'
import { RestoreIncomplete } from './receipt.ts'
import { rehearseRestore, restore, type RestoreRequest } from './restore.ts'
import { unfinishedRestore } from './state-folder.ts'

const isRoot = process.geteuid?.() === 0
const hasRsync = spawnSync('rsync', ['--version']).status === 0
const docs = treePath('srv/docs')

test('a tree comes back exactly: rsync finds nothing to do', { skip: !hasRsync && 'rsync is missing' }, async (t) => {
  const { source, target } = folders(t)
  plantTree(source)
  const receipt = await run(directoryOrigin(source, docs), { target })
  assert.deepEqual(differences(source, join(target, 'srv/docs')), '')
  assert.deepEqual(readdirSync(target), ['srv'])
  assert.equal(receipt.links, 2)
  assert.deepEqual(receipt.notes, [])
  assert.ok(receipt.verifiedChunks > 100)
  const sparse = statSync(join(target, 'srv/docs/sparse'))
  assert.equal(sparse.size, 64 * 1024 * 1024)
  assert.ok(sparse.blocks * 512 < 1024 * 1024, 'holes stay holes')
})

test('only what is asked for is restored, below the folders it stands in', async (t) => {
  const { source, target } = folders(t)
  plantTree(source)
  const receipt = await run(directoryOrigin(source, docs), {
    target,
    paths: [treePath('srv/docs/many/3'), treePath('srv/docs/large')],
  })
  assert.deepEqual(readdirSync(join(target, 'srv/docs')).sort(), ['large', 'many'])
  assert.deepEqual(readdirSync(join(target, 'srv/docs/many')), ['3'])
  assert.equal(receipt.files, 41)
})

test('progress ends at all files and all bytes', async (t) => {
  const { source, target } = folders(t)
  plantTree(source)
  const told: RestoreProgress[] = []
  const receipt = await run(directoryOrigin(source, docs), { target }, (progress) => told.push(progress))
  assert.equal(told[0]?.stage, 'planning')
  const last = told.at(-1)
  assert.equal(last?.stage, 'finishing')
  assert.equal(last?.files, last?.filesTotal)
  assert.equal(last?.bytes, last?.bytesTotal)
  assert.equal(last?.files, receipt.files)
  assert.equal(last?.bytes, receipt.bytes)
})

test('a point that is suspect is told as such by the rehearsal and by the receipt', async (t) => {
  const { source, target } = folders(t)
  plantTree(source)
  const good = directoryOrigin(source, docs)
  const suspect = { ...good, resolve: async () => ({ ...(await good.resolve()), suspect: 'overflow' }) }
  const rehearsed = await rehearseRestore({ source: 'docs', paths: [], target, resume: false }, suspect)
  const receipt = await run(suspect, { target })
  for (const { notes } of [rehearsed, receipt]) assert.match(notes[0] ?? '', /^the point is suspect \(overflow\)/)
})

test('a rehearsal counts, and writes nothing', async (t) => {
  const { source, target } = folders(t)
  plantTree(source)
  const request = { source: 'docs', paths: [], target: join(target, 'new'), resume: false }
  const { totals } = await rehearseRestore(request, directoryOrigin(source, docs))
  assert.equal(totals.links, 2)
  assert.ok(totals.bytes > 20_000_000 && totals.spaceBytes > totals.bytes)
  assert.equal(existsSync(request.target), false)
})

test('a target that holds anything is refused', async (t) => {
  const { source, target } = folders(t)
  mkdirSync(target, { recursive: true })
  writeFileSync(join(target, 'mine'), 'keep me')
  await assert.rejects(run(directoryOrigin(source, docs), { target }), code('target-not-empty'))
  await assert.rejects(run(directoryOrigin(source, docs), { target, resume: true }), code('target-not-empty'))
  assert.deepEqual(readdirSync(target), ['mine'])
})

test('a stopped restore goes on where it was, and fetches little twice', async (t) => {
  const { source, target } = folders(t)
  plantTree(source)
  const origin = directoryOrigin(source, docs)
  const stop = new AbortController()
  let calls = 0
  const log = join(target, '.tidemark-restore/log')
  const paced: RestoreOrigin['read'] = async function* (requests) {
    // What comes third comes after something has been written and recorded.
    if (++calls > 2) while (statSync(log).size === 0) await systemClock.sleep(5)
    yield* origin.read(requests)
  }
  const stopping = { ...origin, read: afterBytes({ ...origin, read: paced }, 18_000_000, () => stop.abort()) }
  await assert.rejects(run(stopping, { target }, undefined, stop.signal), code('interrupted'))
  assert.equal(unfinishedRestore(target)?.source, 'docs')
  await assert.rejects(
    run(origin, { target }),
    (error) => isCode(error, 'target-not-empty') && /--resume/.test(error.hint ?? ''),
  )
  const before = origin.served.bytes
  const receipt = await run(origin, { target, resume: true })
  assert.ok(origin.served.bytes - before < receipt.bytes - 2_000_000, 'what was there is not fetched again')
  if (hasRsync) assert.equal(differences(source, join(target, 'srv/docs')), '')
})

test('a restore killed at any moment goes on, and ends with the whole tree', { timeout: 900_000 }, async (t) => {
  const { source, target } = folders(t)
  plantTree(source)
  const program = join(import.meta.dirname, '../../test/recovery/restore-program.ts')
  for (let kills = 0, ended = false; !ended; kills++) {
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', program, source, target], {
      stdio: ['ignore', 'ignore', 'inherit'],
    })
    const timer = kills < 8 ? setTimeout(() => child.kill('SIGKILL'), 120 + kills * 45) : undefined
    const [status, signal] = await new Promise<[number | null, string | null]>((resolve) =>
      child.on('exit', (...outcome) => resolve(outcome)),
    )
    clearTimeout(timer)
    if (signal === null) assert.equal(status, 0)
    // It may also have been killed between its last step and its exit.
    ended = signal === null || (existsSync(join(target, 'srv')) && !existsSync(join(target, '.tidemark-restore')))
  }
  if (hasRsync) assert.equal(differences(source, join(target, 'srv/docs')), '')
  assert.deepEqual(readdirSync(target), ['srv'])
})

test('what was changed between two runs of a restore is put right again', async (t) => {
  const { source, target } = folders(t)
  plantTree(source)
  const origin = directoryOrigin(source, docs)
  const damaged = { ...origin, read: flipping(origin, 'srv/docs/zz-last') }
  await assert.rejects(run(damaged, { target }), code('verification-failed'))
  writeFileSync(join(target, 'srv/docs/many/1/5'), 'no longer the same')
  rmSync(join(target, 'srv/docs/many/2/7'))
  await run(origin, { target, resume: true })
  if (hasRsync) assert.equal(differences(source, join(target, 'srv/docs')), '')
})

test('flipped bytes are named by file and place, never written, and the rest is restored', async (t) => {
  const { source, target } = folders(t)
  plantTree(source)
  const origin = directoryOrigin(source, docs)
  const failed = await failure(run({ ...origin, read: flipping(origin, 'srv/docs/large') }, { target }))
  assert.ok(failed instanceof RestoreIncomplete && failed.code === 'verification-failed')
  assert.deepEqual(
    failed.receipt.failures.map(({ path, at, bytes }) => ({ path, at, bytes })),
    [{ path: 'srv/docs/large', at: 0, bytes: 262_144 }],
  )
  assert.match(failed.message, /srv\/docs\/large, bytes 0 to 262144/)
  assert.equal(existsSync(join(target, 'srv/docs/large')), false)
  assert.equal(readFileSync(join(target, 'srv/docs/many/3/3'), 'utf8'), 'content of 3/3\n')
  const receipt = await run(origin, { target, resume: true })
  assert.equal(receipt.failureCount, 0)
  if (hasRsync) assert.equal(differences(source, join(target, 'srv/docs')), '')
})

test('where the vault knows of damage, only what is damaged is missing', async (t) => {
  const { source, target } = folders(t)
  plantTree(source)
  const origin = directoryOrigin(source, docs)
  const read: RestoreOrigin['read'] = (requests) => {
    if (requests.some(({ path }) => path === 'srv/docs/many/4/4')) {
      throw new TidemarkError('damaged', { message: 'pack 0012 is damaged at 4096' })
    }
    return origin.read(requests)
  }
  const failed = await failure(run({ ...origin, read }, { target }))
  assert.ok(failed instanceof RestoreIncomplete)
  assert.deepEqual(
    failed.receipt.failures.map(({ path }) => path),
    ['srv/docs/many/4/4'],
  )
  assert.deepEqual(failed.receipt.notes, ['pack 0012 is damaged at 4096'])
})

test('an origin that goes away leaves a restore to go on with', async (t) => {
  const { source, target } = folders(t)
  plantTree(source)
  const origin = directoryOrigin(source, docs)
  const gone = new TidemarkError('unreachable', { message: 'the vault is gone' })
  const read = afterBytes(origin, 9_000_000, () => {
    throw gone
  })
  await assert.rejects(run({ ...origin, read }, { target }), code('unreachable'))
  await run(origin, { target, resume: true })
  if (hasRsync) assert.equal(differences(source, join(target, 'srv/docs')), '')
})

test('two restores into one directory are refused', async (t) => {
  const { source, target } = folders(t)
  plantTree(source)
  const origin = directoryOrigin(source, docs)
  let second: unknown
  const read: RestoreOrigin['read'] = async function* (requests) {
    second ??= await failure(run(origin, { target, resume: true }))
    yield* origin.read(requests)
  }
  await run({ ...origin, read }, { target })
  assert.ok(isCode(second, 'already-running'))
})

const plain: Attributes = {
  mode: 0o644,
  uid: process.getuid?.() ?? 0,
  gid: process.getgid?.() ?? 0,
  modifiedNs: 5n,
  xattrs: [],
}
const put = (path: string, content: Content): Change => ({
  kind: 'put',
  path: treePath(path),
  attributes: plain,
  content,
})
const aFile: Content = { type: 'file', bytes: 3, extents: [{ at: 0, bytes: 3, data: Buffer.from('abc') }] }

const hostile: Record<string, Change[]> = {
  'a file below a symbolic link': [put('a', { type: 'symlink', target: '/' as never }), put('a/tmp', aFile)],
  'a folder below a symbolic link': [
    put('a', { type: 'symlink', target: '/' as never }),
    put('a/b', { type: 'directory' }),
  ],
  'a file below a file': [put('a', aFile), put('a/b/c', aFile)],
  'the same path twice': [put('a', { type: 'directory' }), put('a', { type: 'symlink', target: '/' as never })],
  'a folder visited again': [put('a/b', aFile), put('c', aFile), put('a/d', aFile)],
  'the state folder of the restore': [put('.tidemark-restore/log', aFile)],
  'a removal': [put('a', aFile), { kind: 'remove', path: treePath('a') }],
}

for (const [name, changes] of Object.entries(hostile)) {
  test(`a hostile manifest is refused before anything is written: ${name}`, async (t) => {
    const { target } = folders(t)
    await assert.rejects(run(manifestOrigin(changes), { target }), code('protocol-violation'))
    assert.deepEqual(readdirSync(target), [])
  })
}

test('a symbolic link put into the target meanwhile is not followed', async (t) => {
  const { source, target } = folders(t)
  const outside = join(source, '../outside')
  mkdirSync(outside)
  for (let file = 0; file < 30; file++) {
    mkdirSync(join(source, `d${file}`))
    writeFileSync(join(source, `d${file}/f`), Buffer.alloc(500_000, file))
  }
  const origin = directoryOrigin(source, docs)
  const swap = afterBytes(origin, 1, () => {
    for (const name of readdirSync(join(target, 'srv/docs'))) {
      if (existsSync(join(target, 'srv/docs', name, 'f'))) continue
      rmSync(join(target, 'srv/docs', name), { recursive: true })
      execFileSync('ln', ['-s', outside, join(target, 'srv/docs', name)])
    }
  })
  const failed = await failure(run({ ...origin, read: swap }, { target }))
  assert.ok(failed instanceof TidemarkError, String(failed))
  assert.deepEqual(readdirSync(outside), [])
})

test('folders above a protected path, of which nothing is known, can be entered by all', async (t) => {
  const { target } = folders(t)
  await run(manifestOrigin([put('srv/docs/a', aFile)]), { target })
  assert.equal(statSync(join(target, 'srv')).mode & 0o7777, 0o755)
  assert.equal(readFileSync(join(target, 'srv/docs/a'), 'utf8'), 'abc')
})

test('a file told in several changes is one file', async (t) => {
  const { target } = folders(t)
  const part = (at: number, text: string) => ({ at, bytes: text.length, data: Buffer.from(text) })
  const first: Content = { type: 'file', bytes: 3, extents: [part(0, 'abc')] }
  const rest: Change = {
    kind: 'patch',
    path: treePath('a'),
    attributes: plain,
    bytes: 10,
    extents: [part(6, 'ghi')],
    zeros: [],
  }
  await run(manifestOrigin([put('a', first), rest, put('b', aFile)]), { target })
  assert.equal(readFileSync(join(target, 'a'), 'utf8'), 'abc\0\0\0ghi\0')
  assert.equal(statSync(join(target, 'a'), { bigint: true }).mtimeNs, 5n)
})

test('a file system too small is refused beforehand', { skip: !isRoot && 'mounting needs root' }, async (t) => {
  const { source, target } = folders(t)
  plantTree(source)
  mountTmpfs(target, '8m')
  await assert.rejects(run(directoryOrigin(source, docs), { target }), code('no-space'))
  assert.deepEqual(readdirSync(target), [])
})

test(
  'a file system that becomes full stops the restore, which goes on after room is made',
  { skip: !isRoot && 'mounting needs root' },
  async (t) => {
    const { source, target } = folders(t)
    plantTree(source)
    mountTmpfs(target, '48m')
    const origin = directoryOrigin(source, docs)
    const other = join(target, '.tidemark-restore/other')
    let filled = false
    const read: RestoreOrigin['read'] = (requests) => {
      if (!filled) writeFileSync(other, Buffer.alloc(30 * 1024 * 1024))
      filled = true
      return origin.read(requests)
    }
    await assert.rejects(run({ ...origin, read }, { target }), code('no-space'))
    rmSync(other)
    await run(origin, { target, resume: true })
    if (hasRsync) assert.equal(differences(source, join(target, 'srv/docs'), '-rlptgoDHA'), '')
  },
)

test(
  'without root, content, modes and times come back, and what only root may is noted',
  { skip: !isRoot && 'needs root to become another user' },
  (t) => {
    const { source, target } = folders(t)
    plantTree(source)
    mkdirSync(target)
    execFileSync('chown', ['-R', '65534:65534', target])
    chmodSync(join(source, '..'), 0o755)
    const program = join(import.meta.dirname, '../../test/recovery/restore-program.ts')
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      ['--disable-warning=ExperimentalWarning', program, source, target],
      {
        uid: 65534,
        gid: 65534,
        encoding: 'utf8',
      },
    )
    assert.equal(status, 0, stderr)
    const { notes } = JSON.parse(stdout) as { notes: string[] }
    assert.match(notes.join('\n'), /owners were left as they are on \d+ entries/)
    assert.match(notes.join('\n'), /1 device was left out/)
    const setId = lstatSync(join(target, 'srv/docs/attributes/setuid'))
    assert.equal(setId.mode & 0o7777, 0o755, 'a set-id bit does not go to another owner')
    if (hasRsync) {
      const found = differences(source, join(target, 'srv/docs'), '-rltDH', '--exclude=device')
      assert.equal(found, '')
    }
  },
)

function folders(t: TestContext): { source: string; target: string } {
  const scratch = mkdtempSync(join(tmpdir(), 'tidemark-restore-'))
  t.after(() => {
    if (isRoot) spawnSync('umount', ['--quiet', join(scratch, 'target')])
    rmSync(scratch, { recursive: true, force: true })
  })
  mkdirSync(join(scratch, 'source'))
  return { source: join(scratch, 'source'), target: join(scratch, 'target') }
}

const largeContent = Buffer.alloc(20_500_000)
for (let at = 0; at < largeContent.length; at += 4) largeContent.writeUInt32LE(Math.imul(at, at) >>> 0, at)

function plantTree(root: string): void {
  const sh = (script: string) =>
    execFileSync('bash', ['-euc', script], { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] })
  for (let folder = 0; folder < 10; folder++) {
    mkdirSync(join(root, `many/${folder}`), { recursive: true })
    for (let file = 0; file < 40; file++)
      writeFileSync(join(root, `many/${folder}/${file}`), `content of ${folder}/${file}\n`)
  }
  writeFileSync(join(root, 'large'), largeContent)
  writeFileSync(join(root, 'zz-last'), 'the last file')
  writeFileSync(Buffer.concat([Buffer.from(`${root}/not-utf8-`), Buffer.from([0xff, 0xfe, 0x0a, 0x20])]), 'x')
  sh(`
    mkdir -p links attributes deep/empty
    touch empty
    truncate -s 64M sparse; printf middle | dd of=sparse bs=1 seek=33000000 conv=notrunc status=none
    ln many/1/1 links/second; ln many/1/1 zz-third; ln -s ../large links/soft; ln -s /nowhere/at/all links/dangling
    mkfifo pipe
    touch -d '2001-02-03 04:05:06.123456789' many/2/2 deep/empty; touch -h -d '1999-01-01 00:00:00.5' links/soft
    echo s > attributes/setuid; chmod 4755 attributes/setuid; mkdir attributes/sticky; chmod 1777 attributes/sticky
    mkdir attributes/closed; echo c > attributes/closed/in; chmod 0555 attributes/closed; chmod 0555 deep
    touch -d '2010-10-10 10:10:10.000000001' attributes many/5
  `)
  if (!isRoot) return
  sh(`
    mknod attributes/device c 1 3
    chown 1234:5678 many/3/3 attributes/sticky attributes/setuid; chown -h 1234:5678 links/soft; chmod 4755 attributes/setuid
    if command -v setfattr >/dev/null; then setfattr -n user.note -v hello many/4/4; setfattr -n user.note -v dir many/4; fi
    if command -v setfacl >/dev/null; then setfacl -m u:1234:rw many/6/6; setfacl -d -m u:1234:rwx many/7; fi
    touch -d '2010-10-10 10:10:10.000000001' attributes many/4 many/7
  `)
}

/** What rsync would change to make `restored` equal `source`. */
function differences(source: string, restored: string, how = '-aHAXS', ...more: string[]): string {
  const args = ['-n', '--checksum', '--delete', '--itemize-changes', how, ...more, `${source}/`, `${restored}/`]
  return execFileSync('rsync', args, { encoding: 'utf8' })
}

function run(
  origin: RestoreOrigin,
  request: Partial<RestoreRequest> & { target: string },
  tell: (progress: RestoreProgress) => void = () => {},
  signal = new AbortController().signal,
) {
  return restore({ source: 'docs', paths: [], resume: false, ...request }, { origin, clock: systemClock, tell }, signal)
}

const manifestOrigin = (changes: readonly Change[]): RestoreOrigin => ({
  chunkKey: Buffer.alloc(32),
  resolve: async () => ({ at: sequence(1), moment: moment(1) }),
  manifest: () => encodeManifest(changes),
  read: () => assert.fail('nothing to read'),
})

/** Calls `act` once as soon as so many bytes have been read. */
function afterBytes(origin: RestoreOrigin, bytes: number, act: () => void): RestoreOrigin['read'] {
  let left = bytes
  return async function* (requests) {
    for await (const piece of origin.read(requests)) {
      const before = left
      left -= piece.length
      if (before > 0 && left <= 0) act()
      yield piece
    }
  }
}

/** Flips one bit of the first byte that is read of a file. */
function flipping(origin: RestoreOrigin, path: string): RestoreOrigin['read'] {
  return async function* (requests) {
    for (const request of requests) {
      let first = request.path === path && request.at === 0
      for await (const piece of origin.read([request])) {
        const flipped = Buffer.from(piece)
        if (first) flipped[0]! ^= 1
        first = false
        yield flipped
      }
    }
  }
}

const code = (wanted: TidemarkError['code']) => (error: unknown) => {
  assert.ok(isCode(error, wanted), `${wanted} was expected: ${String(error)}`)
  return true
}

const failure = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  )

/** Is unmounted by `folders`. */
function mountTmpfs(path: string, size: string): void {
  mkdirSync(path, { recursive: true })
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tidemark-test', path])
}
