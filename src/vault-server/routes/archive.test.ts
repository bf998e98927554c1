import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { lstatSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { filledVault, type Filling } from '../../../test/support/filled-vault.ts'
import { until } from '../../../test/support/until.ts'
import { attributes } from '../../../test/support/vault-world.ts'
import type { Attributes, Change, Content } from '../../model/change.ts'
import { fromBuffer, fromUtf8, treePath } from '../../model/path.ts'

const noise = Buffer.concat(Array.from({ length: 90_000 }, (_, at) => createHash('sha512').update(`${at}`).digest()))
const odd = Buffer.from([0x6f, 0x64, 0x64, 0xff, 0xfe, 0x2e, 0x62, 0x69, 0x6e])
const long = 'very-long-name-'.repeat(14)

const put = (path: string | Buffer, content: Content, more: Partial<Attributes> = {}): Change => ({
  kind: 'put',
  path: treePath(typeof path === 'string' ? fromUtf8(path) : fromBuffer(path)),
  attributes: { ...attributes, ...more },
  content,
})

/** A folder "srv/资料" with what is hard to pack, and a file beside it that does not belong to it. */
async function fill({ batch, file }: Filling): Promise<void> {
  const directory: Content = { type: 'directory' }
  const text = await file(Buffer.from('现在是下午\n'))
  await batch(1000, [
    put('srv', directory),
    put('srv/outside', text),
    put('srv/资料', directory, { mode: 0o2750, modifiedNs: 1_600_000_000_000_000_000n }),
    put('srv/资料/empty', directory),
    put('srv/资料/报表 2026.txt', text, { mode: 0o600, modifiedNs: 1_650_000_000_123_456_789n }),
    put('srv/资料/noise.bin', await file(noise), { mode: 0o755 }),
    put('srv/资料/nothing', await file(Buffer.alloc(0))),
    put('srv/资料/link', { type: 'symlink', target: fromUtf8('报表 2026.txt') }),
    put('srv/资料/away', { type: 'symlink', target: fromUtf8('../../etc/passwd') }),
    put(Buffer.concat([Buffer.from('srv/资料/'), odd]), text),
    put('srv/资料/a\\..\\b:c.txt', text),
    put('srv/资料/.. ', directory),
    put('srv/资料/.. /up.txt ..', text),
    put(`srv/资料/${long}`, directory),
    put(`srv/资料/${long}/${long}.txt`, text, { uid: 4_000_000, gid: 3 }),
    put('srv/资料/socket', { type: 'socket' }),
    put('srv/资料/disk', { type: 'block-device', major: 8, minor: 1 }),
    { kind: 'link', path: treePath(fromUtf8('srv/资料/second name')), to: treePath(fromUtf8('srv/资料/noise.bin')) },
  ])
  await batch(2000, [put('srv/资料/报表 2026.txt', await file(Buffer.from('later')))])
}

const asked = (format: string, path = '/srv/资料', at = 'seq:18'): string =>
  `/v1/sources/docs/archive?at=${at}&format=${format}&path=${encodeURIComponent(path)}`

function scratch(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-archive-'))
  t.after(() => rmSync(folder, { recursive: true }))
  return folder
}

const has = (program: string): boolean => spawnSync(program, ['--version']).error === undefined

test('a folder as a tar unpacks to the same bytes, names, modes, times and links', { skip: !has('tar') }, async (t) => {
  const vault = await filledVault(t, fill)
  const { status, headers, body } = await vault.ask(asked('tar'))
  assert.deepEqual([status, headers['content-type']], [200, 'application/x-tar'])
  const named = /^attachment; filename="__-\d{4}-\d\d-\d\dT\d{6}Z\.tar"; filename\*=UTF-8''%E8%B5%84%E6%96%99-/
  assert.match(headers['content-disposition'] ?? '', named)
  assert.equal(headers['x-content-type-options'], 'nosniff')
  const folder = scratch(t)
  execFileSync('tar', ['-x', '-p', '-f', '-', '-C', folder], { input: body })
  const at = (name: string): string => join(folder, '资料', name)
  assert.deepEqual(readdirSync(folder).sort(), ['资料', '资料.notes.txt'])
  assert.equal(readFileSync(at('报表 2026.txt'), 'utf8'), '现在是下午\n')
  assert.ok(readFileSync(at('noise.bin')).equals(noise))
  assert.equal(readlinkSync(at('link')), '报表 2026.txt')
  assert.equal(readlinkSync(at('away')), '../../etc/passwd')
  assert.equal(lstatSync(at('second name')).ino, lstatSync(at('noise.bin')).ino)
  assert.equal(readFileSync(join(at(long), `${long}.txt`), 'utf8'), '现在是下午\n')
  assert.equal(readFileSync(at('a\\..\\b:c.txt'), 'utf8'), '现在是下午\n')
  assert.equal(lstatSync(at('nothing')).size, 0)
  const { mode, mtimeNs } = lstatSync(at('报表 2026.txt'), { bigint: true })
  assert.deepEqual([Number(mode) & 0o7777, mtimeNs], [0o600, 1_650_000_000_123_456_789n])
  assert.equal(lstatSync(at('noise.bin')).mode & 0o7777, 0o755)
  assert.equal(lstatSync(join(folder, '资料')).mtimeMs, 1_600_000_000_000)
  const bytes = readdirSync(Buffer.from(join(folder, '资料')), { encoding: 'buffer' })
  assert.ok(
    bytes.some((name) => name.equals(odd)),
    'a name that is no UTF-8',
  )
  const notes = readFileSync(join(folder, '资料.notes.txt'), 'utf8')
  assert.deepEqual(notes.trim().split('\n').sort(), [
    'left out, since it is a block-device: /srv/资料/disk',
    'left out, since it is a socket: /srv/资料/socket',
  ])
  const listed = execFileSync('tar', ['-t', '-v', '--numeric-owner', '-f', '-'], { input: body }).toString()
  assert.match(listed, / 4000000\/3 /)
})

test('a folder as a zip unpacks to the same bytes, names, modes and links', { skip: !has('unzip') }, async (t) => {
  const vault = await filledVault(t, fill)
  const { status, headers, body } = await vault.ask(asked('zip'))
  assert.deepEqual([status, headers['content-type']], [200, 'application/zip'])
  const folder = scratch(t)
  writeFileSync(join(folder, 'a.zip'), body)
  const environment = { ...process.env, LC_ALL: 'C.UTF-8' }
  execFileSync('unzip', ['-t', '-q', 'a.zip'], { cwd: folder, env: environment })
  execFileSync('unzip', ['-q', 'a.zip'], { cwd: folder, env: environment })
  const at = (name: string): string => join(folder, '资料', name)
  assert.equal(readFileSync(at('报表 2026.txt'), 'utf8'), '现在是下午\n')
  assert.ok(readFileSync(at('noise.bin')).equals(noise))
  assert.ok(readFileSync(at('second name')).equals(noise))
  assert.equal(readlinkSync(at('link')), '报表 2026.txt')
  assert.equal(readFileSync(join(at(long), `${long}.txt`), 'utf8'), '现在是下午\n')
  assert.deepEqual(readdirSync(at('empty')), [])
  assert.equal(lstatSync(at('nothing')).size, 0)
  assert.deepEqual(
    ['报表 2026.txt', 'noise.bin'].map((name) => lstatSync(at(name)).mode & 0o7777),
    [0o600, 0o755],
  )
  assert.equal(Math.floor(lstatSync(at('报表 2026.txt')).mtimeMs / 1000), 1_650_000_000)
  const names = readdirSync(join(folder, '资料'))
  const renamed = names.filter((name) => name.includes('~')).sort()
  // Nothing in them that a PC takes for a way up, another drive or a hidden part of a file.
  assert.match(renamed.join(' '), /^___~[0-9a-f]{8} a_\.\._b_c~[0-9a-f]{8}\.txt odd_xff_xfe~[0-9a-f]{8}\.bin$/)
  const [up = '', ...files] = renamed
  assert.match(readdirSync(at(up)).join(' '), /^up~[0-9a-f]{8}\.txt___$/)
  for (const name of files) assert.equal(readFileSync(at(name), 'utf8'), '现在是下午\n')
  const notes = readFileSync(join(folder, '资料.notes.txt'), 'utf8')
  assert.match(notes, /left out, since it is a socket: \/srv\/资料\/socket/)
  assert.ok(notes.includes(odd.toString('hex')), notes)
  assert.ok(!names.includes('socket') && !names.includes('disk'))
})

const readZip = `
import hashlib, json, sys, zipfile
z = zipfile.ZipFile(sys.argv[1])
assert z.testzip() is None
print(json.dumps([[i.filename, i.file_size, hashlib.sha256(z.read(i)).hexdigest()] for i in z.infolist()]))
`

test('another reader finds the same in a zip, also in one of a single file', { skip: !has('python3') }, async (t) => {
  const vault = await filledVault(t, fill)
  const folder = scratch(t)
  const read = (body: Buffer): [string, number, string][] => {
    writeFileSync(join(folder, 'a.zip'), body)
    return JSON.parse(execFileSync('python3', ['-c', readZip, join(folder, 'a.zip')]).toString()) as ReturnType<
      typeof read
    >
  }
  const sum = (bytes: Buffer | string): string => createHash('sha256').update(bytes).digest('hex')
  const whole = read((await vault.ask(asked('zip'))).body)
  assert.deepEqual(
    whole.find(([name]) => name === '资料/noise.bin'),
    ['资料/noise.bin', noise.length, sum(noise)],
  )
  assert.ok(whole.every(([name]) => name.startsWith('资料') && !name.includes('\\') && !name.includes('..\\')))
  const single = await vault.ask(asked('zip', '/srv/资料/报表 2026.txt', 'latest'))
  assert.deepEqual(read(single.body), [['报表 2026.txt', 5, sum('later')]])
  const all = read((await vault.ask('/v1/sources/docs/archive?format=zip')).body)
  assert.ok(all.some(([name]) => name === 'docs/srv/outside'))
})

test('an archive with a damaged file breaks off: it has no end, and whoever fetches it is told', async (t) => {
  const vault = await filledVault(t, fill)
  const [pack] = readdirSync(join(vault.directory, 'packs'), { recursive: true, withFileTypes: true })
    .filter((one) => one.isFile())
    .map((one) => join(one.parentPath, one.name))
    .sort((a, b) => lstatSync(b).size - lstatSync(a).size)
  const bytes = readFileSync(pack as string)
  bytes[Math.floor(bytes.length * 0.8)]! ^= 1
  writeFileSync(pack as string, bytes)
  for (const format of ['zip', 'tar']) await assert.rejects(vault.ask(asked(format)), /aborted|hang up/, format)
})

test('archives that nobody reads any more make room for others', async (t) => {
  const { socketPath, ask } = await filledVault(t, fill)
  const begin = (): Promise<http.IncomingMessage> =>
    new Promise((resolve, reject) => http.get({ socketPath, path: asked('tar') }, resolve).on('error', reject))
  const unread = await Promise.all(Array.from({ length: 4 }, begin))
  assert.deepEqual(
    unread.map(({ statusCode }) => statusCode),
    [200, 200, 200, 200],
  )
  const refused = await ask(asked('zip'))
  assert.equal(refused.status, 409)
  assert.match(refused.body.toString(), /in-use/)
  assert.equal(refused.headers['content-disposition'], undefined)
  for (const response of unread) response.destroy()
  await until('there is room', async () => (await ask(asked('zip'))).status === 200)
})

test('what cannot be packed is refused, and so is what is not there', async (t) => {
  const vault = await filledVault(t, fill)
  assert.equal((await vault.ask(asked('zip', '/srv/资料/socket'))).status, 400)
  assert.equal((await vault.ask(asked('zip', '/srv/none'))).status, 404)
  assert.equal((await vault.ask(asked('rar'))).status, 400)
  const { headers } = await vault.ask(`/v1/sources/docs/content?path=${encodeURIComponent('/srv/资料/报表 2026.txt')}`)
  assert.match(
    headers['content-disposition'] ?? '',
    /^attachment; filename="__ 2026\.txt"; filename\*=UTF-8''%E6%8A%A5/,
  )
  assert.deepEqual(
    [headers['content-type'], headers['x-content-type-options']],
    ['application/octet-stream', 'nosniff'],
  )
})
