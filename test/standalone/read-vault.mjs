#!/usr/bin/env node
/**
 * Reads a vault by docs/formats/vault.md alone and brings a tree of it into a new directory: the proof that the page is
 * enough. It imports nothing of Tidemark and no package, and prefers being plain to being quick.
 *
 *   node read-vault.mjs VAULT SOURCE SEQUENCE|latest TARGET [KEYFILE]
 *
 * SOURCE is a source's name or id. For a vault with a passphrase, the passphrase is read from the environment variable
 * PASSPHRASE. Devices, fifos, sockets and extended attributes are left out. The vault must not be in use.
 */
import { createDecipheriv, createHash, createHmac, hkdfSync, scryptSync } from 'node:crypto'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { zstdDecompressSync } from 'node:zlib'

const [vault, wanted, until, target, keyFile] = process.argv.slice(2)
if (target === undefined) {
  process.stderr.write('usage: node read-vault.mjs VAULT SOURCE SEQUENCE|latest TARGET [KEYFILE]\n')
  process.exit(2)
}

// 2. Keys

const about = JSON.parse(fs.readFileSync(join(vault, 'vault.json'), 'utf8'))
if (about.version !== 1) fail('unknown version of vault.json')
const vaultId = Buffer.from(about.id, 'hex')
const vaultKey = readVaultKey()
const derive = (key, salt, info) => Buffer.from(hkdfSync('sha256', key, salt, info, 32))
if (derive(vaultKey, vaultId, 'tidemark check 1').toString('hex') !== about.check)
  fail('this is not the key of this vault')
const packsKey = derive(vaultKey, vaultId, 'tidemark packs 1')
const registryKey = derive(vaultKey, vaultId, 'tidemark registry 1')

function readVaultKey() {
  if (about.key.from === 'file') {
    return Buffer.from(fs.readFileSync(keyFile ?? join(vault, 'vault.key'), 'latin1').trim(), 'hex')
  }
  const { salt, cost: N, blockSize: r, parallelization: p } = about.key
  const passphrase = (process.env.PASSPHRASE ?? '').normalize('NFC')
  return scryptSync(passphrase, Buffer.from(salt, 'hex'), 32, { N, r, p, maxmem: 256 * N * r })
}

function opened(key, nonce, aad, ciphertext, tag, what) {
  const decipher = createDecipheriv('aes-256-gcm', key, nonce).setAAD(aad).setAuthTag(tag)
  try {
    return Buffer.concat([decipher.update(ciphertext), decipher.final()])
  } catch {
    return fail(`${what} is not authentic`)
  }
}

// 3. Records of the registry

function record(name) {
  const bytes = fs.readFileSync(join(vault, 'registry', `${name}.record`))
  const magic = Buffer.from('TIDEREC1')
  if (!bytes.subarray(0, 8).equals(magic)) fail(`${name} is no record`)
  const aad = Buffer.concat([magic, Buffer.from(name)])
  return JSON.parse(opened(registryKey, bytes.subarray(8, 20), aad, bytes.subarray(20, -16), bytes.subarray(-16), name))
}

const chunkKey = Buffer.from(record('vault').chunkKey, 'hex')
const source = fs
  .readdirSync(join(vault, 'registry', 'sources'))
  .map((name) => record(`sources/${name.replace('.record', '')}`))
  .find(({ definition }) => definition.id === wanted || definition.name === wanted)
if (!source) fail(`there is no source ${wanted}`)
const journalKey = Buffer.from(source.journalKey, 'hex')
const journal = join(vault, 'journals', source.definition.id)

// 4. Sealed files

/** Header and frames of a file; `sealed` tells whether it ends in a seal. */
function readSealed(path, owner, kind) {
  const bytes = fs.readFileSync(path)
  if (bytes.subarray(0, 8).toString() !== 'TIDEMARK' || bytes.readUInt16BE(8) !== 1) fail(`${path} is no sealed file`)
  if (bytes[10] !== kind) fail(`${path} is of another kind`)
  const key = derive(owner, bytes.subarray(16, 32), 'tidemark file 1')
  opened(key, nonce(2, 0), bytes.subarray(0, 112), Buffer.alloc(0), bytes.subarray(112, 128), `${path}: the header`)
  const frames = []
  let sealed = false
  let at = 128
  for (; at < bytes.length && !sealed;) {
    const frame = frameAt(bytes, at, key)
    if (!frame || frame.ordinal !== frames.length) break
    if (frame.type === 4) {
      const hash = createHash('sha256').update(bytes.subarray(0, at)).digest()
      const { payload } = frame
      if (Number(payload.readBigUInt64BE(8)) !== at || !payload.subarray(32, 64).equals(hash))
        fail(`${path}: wrong seal`)
      sealed = true
    }
    frames.push(frame)
    at += frame.bytes
  }
  if (sealed ? at !== bytes.length : isDamage(bytes, at, key)) fail(`${path} is damaged at byte ${at}`)
  const hash = createHash('sha256').update(bytes).digest()
  return { path, number: u64(bytes, 48), first: u64(bytes, 56), before: bytes.subarray(64, 96), hash, frames, sealed }
}

function frameAt(bytes, at, key) {
  if (bytes.length < at + 40 || bytes.toString('latin1', at, at + 4) !== 'FRM1') return undefined
  const length = bytes.readUInt32BE(at + 4)
  const end = at + 24 + length + 16
  if (end > bytes.length) return undefined
  const type = bytes[at + 8]
  const ordinal = bytes.readUInt32BE(at + 12)
  const decipher = createDecipheriv('aes-256-gcm', key, nonce(type === 3 || type === 4 ? 1 : 0, ordinal))
  decipher.setAAD(bytes.subarray(at, at + 24)).setAuthTag(bytes.subarray(end - 16, end))
  try {
    const payload = Buffer.concat([decipher.update(bytes.subarray(at + 24, end - 16)), decipher.final()])
    return { type, ordinal, durable: u64(bytes, at + 16), at, bytes: end - at, payload }
  } catch {
    return undefined
  }
}

/** Whether the bad frame at `bad` was durable once: a later frame says so. */
function isDamage(bytes, bad, key) {
  for (let at = bytes.indexOf('FRM1', bad + 1); at !== -1; at = bytes.indexOf('FRM1', at + 1)) {
    if ((frameAt(bytes, at, key)?.durable ?? 0) > bad) return true
  }
  return false
}

function nonce(prefix, ordinal) {
  const bytes = Buffer.alloc(12)
  bytes.writeUInt32BE(prefix, 0)
  bytes.writeUInt32BE(ordinal, 8)
  return bytes
}

// 5. Compressed bodies

function decompressed(bytes) {
  const body = bytes[0] === 1 ? zstdDecompressSync(bytes.subarray(5)) : bytes.subarray(5)
  if (body.length !== bytes.readUInt32BE(1)) fail('a compressed body has another length than it says')
  return body
}

// 6. Batches and changes

class Reader {
  constructor(bytes) {
    this.bytes = bytes
    this.at = 0
  }
  get more() {
    return this.at < this.bytes.length
  }
  raw(count) {
    this.at += count
    if (this.at > this.bytes.length) fail('something is cut short')
    return this.bytes.subarray(this.at - count, this.at)
  }
  u8() {
    return this.raw(1)[0]
  }
  varint() {
    let value = 0
    for (let scale = 1; ; scale *= 128) {
      const byte = this.u8()
      value += (byte & 127) * scale
      if (byte < 128) return value
    }
  }
  sized() {
    return this.raw(this.varint())
  }
  text() {
    return this.sized().toString('latin1')
  }
}

function readBatch(payload) {
  const reader = new Reader(decompressed(payload.subarray(8)))
  if (reader.u8() !== 1) fail('unknown version of a batch')
  reader.u8()
  const first = reader.varint()
  const count = reader.varint()
  reader.varint()
  reader.sized()
  const changes = []
  for (let index = 0; index < count; index++) {
    reader.varint()
    changes.push(readChange(reader))
  }
  return { first, changes }
}

function readChange(reader) {
  const kind = reader.u8()
  if (kind === 9) return readMark(reader)
  const path = reader.text()
  if (kind === 0) return { kind, path, attributes: readAttributes(reader), ...readContent(reader) }
  if (kind === 1) {
    const patch = {
      kind,
      path,
      attributes: readAttributes(reader),
      size: reader.varint(),
      extents: readExtents(reader),
    }
    const zeros = Array.from({ length: reader.varint() }, () => ({ at: reader.varint(), bytes: reader.varint() }))
    return { ...patch, zeros }
  }
  if (kind === 2 || kind === 3) return { kind, path, other: reader.text() }
  if (kind === 4) return { kind, path }
  if (kind === 5) return { kind, path, attributes: readAttributes(reader) }
  if (kind === 6) return { kind, path, at: reader.varint(), data: reader.sized() }
  if (kind === 7) return { kind, path, at: reader.varint(), bytes: reader.varint() }
  if (kind === 8) return { kind, path, size: reader.varint() }
  return fail(`unknown kind ${kind} of change`)
}

function readMark(reader) {
  const type = reader.u8()
  if (type < 2) reader.u8()
  if (type === 2) reader.varint()
  if (type >= 2) reader.sized()
  return { kind: 9 }
}

function readAttributes(reader) {
  const attributes = { mode: reader.varint(), uid: reader.varint(), gid: reader.varint() }
  const modifiedNs = reader.raw(8).readBigInt64BE(0)
  for (let count = reader.varint() * 2; count > 0; count--) reader.sized()
  return { ...attributes, modifiedNs }
}

function readContent(reader) {
  const type = reader.u8()
  if (type === 1) return { type, size: reader.varint(), extents: readExtents(reader) }
  if (type === 2) return { type, link: reader.text() }
  if (type >= 5) return { type, major: reader.varint(), minor: reader.varint() }
  return { type }
}

function readExtents(reader) {
  let end = 0
  return Array.from({ length: reader.varint() }, () => {
    const at = end + reader.varint()
    const packed = reader.varint()
    const bytes = Math.floor(packed / 2)
    end = at + bytes
    const piece = packed % 2 === 1 ? { data: reader.raw(bytes) } : { chunk: reader.raw(32).toString('hex') }
    return { at, bytes, ...piece }
  })
}

// 8. Packs: where every chunk stands, from the frames of all packs

const chunks = new Map()
for (const name of fs.existsSync(join(vault, 'packs')) ? fs.readdirSync(join(vault, 'packs')).sort() : []) {
  for (const { type, payload } of readSealed(join(vault, 'packs', name), packsKey, 2).frames) {
    if (type === 2) readBlock(payload.subarray(4))
  }
}

function readBlock(block) {
  if (block[0] !== 1) fail('unknown version of a block')
  const count = block.readUInt16BE(1)
  const body = decompressed(block.subarray(3 + count * 36))
  let at = 0
  for (let index = 0; index < count; index++) {
    const entry = 3 + index * 36
    const id = block.toString('hex', entry, entry + 32)
    const data = body.subarray(at, (at += block.readUInt32BE(entry + 32)))
    if (createHmac('sha256', chunkKey).update(data).digest('hex') !== id) fail(`chunk ${id} is not what its name says`)
    chunks.set(id, data)
  }
}

// The tree at the sequence: names to nodes, and what a file consists of as pieces in the order they were written.

const names = new Map()
const untold = { mode: 0o600, uid: 0, gid: 0, modifiedNs: 0n }

function apply(change) {
  const { kind, path } = change
  const node = names.get(path)
  if (kind === 0) {
    if (path === '' && change.type !== 0) return
    const { type, attributes, link } = change
    const made = { type, attributes, link, size: change.size ?? 0, pieces: change.extents ?? [] }
    const isDirectory = type === 0 && node?.type === 0
    if (isDirectory) Object.assign(node, made)
    else if (path === '') names.set(path, made)
    else place(path, made)
  } else if (kind === 1 && node?.type === 1) {
    node.pieces = [...node.pieces, ...change.extents, ...change.zeros]
    node.attributes = change.attributes
    resize(node, change.size)
  } else if (kind === 2) {
    const other = names.get(change.other)
    if (other && other.type !== 0 && path !== '' && other !== node && !within(path, change.other)) place(path, other)
  } else if (kind === 3) {
    if (!names.has(change.other) || change.other === '' || path === '' || within(path, change.other)) return
    const moved = [...names].filter(([name]) => within(name, change.other))
    for (const [name] of moved) names.delete(name)
    removeAll(path)
    makeParents(path)
    for (const [name, one] of moved) names.set(path + name.slice(change.other.length), one)
  } else if (kind === 4) {
    const root = names.get('')
    removeAll(path)
    if (path === '' && root) names.set('', root)
  } else if (kind === 5) {
    if (node) node.attributes = change.attributes
    else if (path === '') names.set('', { type: 0, attributes: change.attributes })
  } else if (kind === 6 || kind === 8) {
    if (!node && path !== '') place(path, { type: 1, attributes: untold, size: 0, pieces: [] })
    const file = names.get(path)
    if (file?.type !== 1) return
    if (kind === 8) resize(file, change.size)
    else overwrite(file, { at: change.at, bytes: change.data.length, data: change.data })
  } else if (kind === 7 && node?.type === 1) {
    overwrite(node, { at: change.at, bytes: change.bytes })
  }
}

function overwrite(file, piece) {
  if (piece.bytes === 0) return
  file.pieces = [...file.pieces, piece]
  file.size = Math.max(file.size, piece.at + piece.bytes)
}

/** What is beyond the new size is gone, also when the file grows again. */
function resize(file, size) {
  file.pieces = file.pieces
    .filter(({ at }) => at < size)
    .map((piece) => ({ ...piece, bytes: Math.min(piece.bytes, size - piece.at) }))
  file.size = size
}

function within(path, ancestor) {
  return ancestor === '' || path === ancestor || path.startsWith(`${ancestor}/`)
}

function removeAll(path) {
  for (const name of [...names.keys()]) if (within(name, path)) names.delete(name)
}

function place(path, node) {
  removeAll(path)
  makeParents(path)
  names.set(path, node)
}

function makeParents(path) {
  const parent = path.slice(0, Math.max(0, path.lastIndexOf('/')))
  if (parent === '' || names.get(parent)?.type === 0) return
  place(parent, { type: 0, attributes: { ...untold, mode: 0o700 } })
}

// 7. Checkpoint, if earlier history was dropped, then the changes after it

const segments = fs
  .readdirSync(journal)
  .filter((name) => name.endsWith('.segment'))
  .sort()
  .map((name) => readSealed(join(journal, name), journalKey, 1))
for (const [index, segment] of segments.entries()) {
  const before = segments[index - 1]
  if (index < segments.length - 1 && !segment.sealed) fail(`${segment.path} is not sealed`)
  if (before && !before.hash.equals(segment.before)) fail(`${segment.path} does not follow the one before it`)
}
const end = until === 'latest' ? Infinity : Number(until)
let done = 0
if (segments[0]?.first > 1) {
  const folder = join(journal, 'checkpoints')
  const checkpoint = fs
    .readdirSync(folder)
    .sort()
    .map((name) => readSealed(join(folder, name), journalKey, 3))
    .find(({ first, sealed }) => sealed && first >= segments[0].first - 1)
  if (!checkpoint) fail('the checkpoint at the start of history is gone')
  if (end < checkpoint.first) fail(`history is kept from change ${checkpoint.first} on`)
  for (const { type, payload } of checkpoint.frames) {
    if (type !== 5) continue
    for (const reader = new Reader(decompressed(payload)); reader.more;) apply(readChange(reader))
  }
  done = checkpoint.first
}
for (const { frames } of segments) {
  for (const { type, payload } of frames) {
    if (type !== 1) continue
    const { first, changes } = readBatch(payload)
    for (const [index, change] of changes.entries()) {
      const sequence = first + index
      if (sequence <= done || sequence > end) continue
      if (sequence !== done + 1) fail(`change ${done + 1} is not there`)
      apply(change)
      done = sequence
    }
  }
}
if (end !== Infinity && done < end) fail(`the journal ends at change ${done}`)

// Out into the target

fs.mkdirSync(target, { recursive: true })
if (fs.readdirSync(target).length > 0) fail(`${target} is not empty`)
const onDisk = (path) => Buffer.from(`${Buffer.from(target).toString('latin1')}${path && `/${path}`}`, 'latin1')
const written = new Map()
const shown = [...names]
  .filter(([path]) => !within(path, '.tidemark-staging'))
  .sort(([one], [other]) => (one < other ? -1 : 1))
for (const [path, node] of shown) {
  if (written.has(node)) fs.linkSync(onDisk(written.get(node)), onDisk(path))
  else if (node.type === 0) fs.mkdirSync(onDisk(path), { recursive: true })
  else if (node.type === 1) writeFile(onDisk(path), node)
  else if (node.type === 2) fs.symlinkSync(Buffer.from(node.link, 'latin1'), onDisk(path))
  else continue
  if (node.type !== 0) written.set(node, path)
}
for (const [path, { type, attributes }] of shown.reverse()) {
  if (type > 2) continue
  const { mode, uid, gid, modifiedNs } = attributes
  if (process.getuid() === 0) fs.lchownSync(onDisk(path), uid, gid)
  if (type !== 2) fs.chmodSync(onDisk(path), mode)
  const seconds = Number(modifiedNs) / 1e9
  fs.lutimesSync(onDisk(path), seconds, seconds)
}
process.stdout.write(`${source.definition.name} at change ${done}: ${shown.length} names in ${target}\n`)

function writeFile(path, { size, pieces }) {
  const file = fs.openSync(path, 'wx', 0o600)
  fs.ftruncateSync(file, size)
  for (const { at, bytes, chunk, data } of pieces) {
    const whole = chunk === undefined ? (data ?? Buffer.alloc(bytes)) : chunks.get(chunk)
    if (whole === undefined) fail(`chunk ${chunk} is not there`)
    fs.writeSync(file, whole, 0, bytes, at)
  }
  fs.closeSync(file)
}

function u64(bytes, at) {
  return Number(bytes.readBigUInt64BE(at))
}

function fail(message) {
  process.stderr.write(`read-vault: ${message}\n`)
  process.exit(1)
}
