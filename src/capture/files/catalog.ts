import { existsSync, readFileSync, rmSync } from 'node:fs'
import { DatabaseSync, type SQLOutputValue } from 'node:sqlite'
import { assert } from '../../base/assert.ts'
import { isSystemError } from '../../base/errors.ts'
import { systemRandom } from '../../base/random.ts'
import { type Moment, moment } from '../../model/moment.ts'
import { joinPath, rootPath, type TreePath } from '../../model/path.ts'
import type { Sequence } from '../../model/sequence.ts'
import { catalogSchema, catalogVersion } from './catalog-schema.ts'
import { emptySignature, type Signature, signatureEntryBytes } from './signature.ts'
import { inodeOf, type Stat, typeOf } from './stat.ts'

/** A node's number in the catalog; never used again for another. 0 is the root of the tree, of which nothing is kept. */
export type NodeId = number & { readonly is: 'NodeId' }
export const rootNode = 0 as NodeId

export interface CatalogNode {
  readonly id: NodeId
  readonly stat: Stat
  readonly xattrs: Buffer | undefined
  /** A file's signature, or a symbolic link's target; undefined where a file's signature is in pages. */
  readonly content: Buffer | undefined
}

export interface NameRow {
  readonly parent: NodeId
  readonly name: string
}

export interface ChildRow {
  readonly name: string
  readonly id: NodeId
  readonly stat: Stat
}

interface BatchEnd {
  readonly last: Sequence
  readonly node: number
  readonly name: number
  readonly page: number
}

/** Entries of a signature in one row: an append rewrites only the last. */
const pageBytes = 512 * signatureEntryBytes
const pathsRememberedMax = 20_000

/**
 * What the capture believes the vault's tree holds after `sequence`. It changes together with the batches: `begin`,
 * then the changes of one batch, then `commit`, and only then is the batch handed out, so after a crash the catalog is never behind
 * what was sent. What it was before the batches that are not durable yet is kept, so that it can go back to any of their
 * ends. It is not synced to disk: after a power failure it is not trusted.
 */
export class Catalog implements Disposable {
  readonly #database: DatabaseSync
  readonly #statements
  readonly #paths = new Map<NodeId, TreePath>([[rootNode, rootPath]])
  /** Ends of committed batches, with the last undo rows they wrote. */
  readonly #ends: BatchEnd[] = []
  readonly #filesystems = new Map<string, number>()
  /** Of the fingerprints in signatures. */
  readonly fingerprintSeed: bigint
  #sequence: Sequence
  #open = false
  #durable = 0

  /**
   * The catalog in this file as it stood after the batch that ended at `at` with this cursor; undefined where there is
   * none, where it is not known to be whole, or where it cannot go back to that batch.
   */
  static resume(path: string, at: Sequence, cursor: Uint8Array): Catalog | undefined {
    if (!existsSync(path)) return undefined
    let catalog: Catalog | undefined
    try {
      catalog = new Catalog(new DatabaseSync(path))
      if (catalog.#standsAt(at, Buffer.from(cursor))) return catalog
    } catch (error) {
      // A damaged file is as good as none: what it held is told by the manifest.
      if (!(error instanceof UnknownCatalog) && !isSystemError(error, 'ERR_SQLITE_ERROR')) throw error
    }
    if (catalog !== undefined) catalog.#database.close()
    return undefined
  }

  /** The catalog in this file as it is, whatever it stands at; undefined where it is not known to be whole. */
  static readable(path: string): Catalog | undefined {
    if (!existsSync(path)) return undefined
    try {
      const catalog = new Catalog(new DatabaseSync(path))
      if (catalog.#isWhole()) return catalog
      catalog.#database.close()
    } catch (error) {
      if (!(error instanceof UnknownCatalog) && !isSystemError(error, 'ERR_SQLITE_ERROR')) throw error
    }
    return undefined
  }

  /** An empty catalog; what was in the file is gone. It numbers and fingerprints as `like` does. */
  static create(path: string, { at, cursor }: { at: Sequence; cursor: Uint8Array }, like?: Catalog): Catalog {
    for (const suffix of ['', '-wal', '-shm']) rmSync(path + suffix, { force: true })
    const database = new DatabaseSync(path)
    database.exec('PRAGMA page_size = 8192')
    database.exec('PRAGMA journal_mode = WAL')
    database.exec(catalogSchema)
    const seed = Buffer.alloc(8)
    seed.writeBigUInt64LE(like?.fingerprintSeed ?? Buffer.from(systemRandom.bytes(8)).readBigUInt64LE())
    database
      .prepare(
        'INSERT INTO state (version, sequence, cursor, first, nodes, boot, closed, drained, seed) VALUES (?, ?, ?, ?, 0, ?, 0, 0, ?)',
      )
      .run(catalogVersion, at, cursor, at, bootId(), seed)
    const addFilesystem = database.prepare('INSERT INTO filesystem (number, identity) VALUES (?, ?)')
    for (const [identity, number] of like === undefined ? [] : like.#filesystems) addFilesystem.run(number, identity)
    return new Catalog(database)
  }

  private constructor(database: DatabaseSync) {
    this.#database = database
    database.exec('PRAGMA journal_mode = WAL')
    database.exec('PRAGMA synchronous = OFF')
    database.exec('PRAGMA cache_size = -32768')
    database.exec('PRAGMA wal_autocheckpoint = 4096')
    const version = database.prepare('SELECT version, sequence, seed FROM state').get()
    if (version?.['version'] !== catalogVersion) throw new UnknownCatalog()
    this.#sequence = version['sequence'] as Sequence
    this.#statements = prepare(database)
    for (const row of this.#statements.filesystems.all()) {
      this.#filesystems.set(row['identity'] as string, row['number'] as number)
    }
    this.fingerprintSeed = bytesOf(version['seed']).readBigUInt64LE()
  }

  get sequence(): Sequence {
    return this.#sequence
  }

  /** Every change made before this moment that anybody could tell of is in the catalog; later ones may not be. */
  get drained(): Moment {
    return moment(Number(this.#database.prepare('SELECT drained FROM state').get()?.['drained'] ?? 0))
  }

  /** Not while a batch is open: what is noted is of the batches before it, and goes back with them. */
  noteDrained(drained: Moment): void {
    assert(!this.#open, 'what is noted is of whole batches')
    this.#statements.setDrained.run(drained)
  }

  /** Since when changes were missed of which the journal has no mark yet. */
  get gap(): Moment | undefined {
    const since = this.#database.prepare('SELECT gap FROM state').get()?.['gap'] ?? null
    return since === null ? undefined : moment(Number(since))
  }

  /** Like `noteDrained`. */
  noteGap(since: Moment | undefined): void {
    assert(!this.#open, 'what is noted is of whole batches')
    this.#statements.setGap.run(since ?? null)
  }

  get nodes(): number {
    return Number(this.#database.prepare('SELECT count(*) AS count FROM node').get()?.['count'])
  }

  // --- batches

  get isOpen(): boolean {
    return this.#open
  }

  /** Starts the changes of the batch whose first change gets this sequence. */
  begin(first: Sequence): void {
    assert(!this.#open, 'one batch of changes at a time')
    this.#database.exec('BEGIN IMMEDIATE')
    this.#statements.setFirst.run(first)
    this.#open = true
  }

  commit(last: Sequence, cursor: Uint8Array): void {
    assert(this.#open, 'a batch of changes is open')
    this.#statements.addBatch.run(last)
    this.#statements.setSequence.run(last, cursor)
    const ends = this.#statements.undoEnds.get() as unknown as Omit<BatchEnd, 'last'>
    this.#database.exec('COMMIT')
    this.#open = false
    this.#sequence = last
    this.#ends.push({ last, node: ends.node, name: ends.name, page: ends.page })
  }

  /** Nobody will ask to go back to before this sequence. */
  durable(sequence: Sequence): void {
    this.#durable = Math.max(this.#durable, sequence)
    if (this.#open) return
    let forget: BatchEnd | undefined
    while (this.#ends[0] !== undefined && this.#ends[0].last <= this.#durable) forget = this.#ends.shift()
    if (forget === undefined) return
    this.#database.exec('BEGIN IMMEDIATE')
    this.#statements.forgetNodes.run(forget.node)
    this.#statements.forgetNames.run(forget.name)
    this.#statements.forgetPages.run(forget.page)
    this.#statements.forgetBatches.run(forget.last)
    this.#database.exec('COMMIT')
  }

  // --- nodes and names

  node(id: NodeId): CatalogNode | undefined {
    const row = this.#statements.node.get(id)
    return row === undefined ? undefined : nodeOf(row)
  }

  child(parent: NodeId, name: string): CatalogNode | undefined {
    const row = this.#statements.child.get(parent, name)
    return row === undefined ? undefined : nodeOf(row)
  }

  /** Ascending by name. */
  children(parent: NodeId): ChildRow[] {
    return this.#statements.children.all(parent).map((row) => ({
      name: row['name'] as string,
      id: row['id'] as NodeId,
      stat: bytesOf(row['stat']) as Stat,
    }))
  }

  hasChildren(parent: NodeId): boolean {
    return this.#statements.anyChild.get(parent) !== undefined
  }

  withInode(inode: bigint): CatalogNode[] {
    return this.#statements.withInode.all(BigInt.asIntN(64, inode)).map(nodeOf)
  }

  names(id: NodeId): NameRow[] {
    return this.#statements.names.all(id) as unknown as NameRow[]
  }

  add(
    parent: NodeId,
    name: string,
    facts: { stat: Stat; xattrs: Buffer | undefined; content: Buffer | undefined },
  ): NodeId {
    const { lastInsertRowid } = this.#statements.addNode.run(
      inodeKey(facts.stat),
      facts.stat,
      facts.xattrs ?? null,
      facts.content ?? null,
    )
    const id = Number(lastInsertRowid) as NodeId
    this.#statements.addName.run(parent, name, id)
    return id
  }

  /** Another name of a node. The name must be free. */
  link(parent: NodeId, name: string, id: NodeId): void {
    this.#statements.addName.run(parent, name, id)
  }

  setStat(id: NodeId, stat: Stat): void {
    this.#statements.setStat.run(inodeKey(stat), stat, id)
  }

  setFacts(id: NodeId, facts: { stat: Stat; xattrs: Buffer | undefined; content: Buffer | undefined }): void {
    this.#statements.setFacts.run(inodeKey(facts.stat), facts.stat, facts.xattrs ?? null, facts.content ?? null, id)
  }

  /** The name must be free: what stood there has to be removed first. */
  rename(from: NameRow, to: NameRow, id: NodeId, isDirectory: boolean): void {
    this.#statements.dropName.run(from.parent, from.name)
    this.#statements.addName.run(to.parent, to.name, id)
    if (isDirectory) this.#forgetPaths()
  }

  /** Takes the name away, and with its last name the node, and everything below it. Yields the directories that went. */
  remove(parent: NodeId, name: string): NodeId[] {
    const gone: NodeId[] = []
    const top = this.child(parent, name)
    if (top === undefined) return gone
    this.#statements.dropName.run(parent, name)
    this.#dropIfNameless(top, gone)
    for (let index = 0; index < gone.length; index++) {
      const directory = gone[index] as NodeId
      for (const child of this.#statements.childNodes.all(directory)) {
        this.#statements.dropName.run(directory, child['name'] as string)
        this.#dropIfNameless(nodeOf(child), gone)
      }
    }
    if (gone.length > 0) this.#forgetPaths()
    return gone
  }

  #dropIfNameless(node: CatalogNode, gone: NodeId[]): void {
    if (this.#statements.anyName.get(node.id) !== undefined) return
    if (typeOf(node.stat) === 'directory') gone.push(node.id)
    if (node.content === undefined && typeOf(node.stat) === 'file') this.#statements.dropPages.run(node.id, 0)
    this.#statements.dropNode.run(node.id)
  }

  /** Where a directory stands; undefined for one that is no longer in the catalog. */
  pathOf(directory: NodeId): TreePath | undefined {
    const known = this.#paths.get(directory)
    if (known !== undefined) return known
    const row = this.#statements.names.get(directory) as NameRow | undefined
    if (row === undefined) return undefined
    const parent = this.pathOf(row.parent)
    if (parent === undefined) return undefined
    const path = joinPath(parent, row.name)
    if (this.#paths.size >= pathsRememberedMax) this.#forgetPaths()
    this.#paths.set(directory, path)
    return path
  }

  nameOf(directory: NodeId): NameRow | undefined {
    return this.#statements.names.get(directory) as NameRow | undefined
  }

  #forgetPaths(): void {
    this.#paths.clear()
    this.#paths.set(rootNode, rootPath)
  }

  // --- content

  signature(node: CatalogNode): Signature {
    if (typeOf(node.stat) !== 'file') return emptySignature
    if (node.content !== undefined) return node.content as Signature
    return Buffer.concat(this.#statements.pages.all(node.id).map((row) => bytesOf(row['entries']))) as Signature
  }

  /** What to give as `content` for this signature; the rest is for `setPages`. */
  static contentOf(signature: Signature): Buffer | undefined {
    return signature.length <= signatureEntryBytes ? Buffer.from(signature) : undefined
  }

  setPages(id: NodeId, signature: Signature): void {
    const inRow = signature.length <= signatureEntryBytes
    const count = inRow ? 0 : Math.ceil(signature.length / pageBytes)
    const old = this.#statements.pages.all(id)
    for (let page = 0; page < count; page++) {
      const entries = signature.subarray(page * pageBytes, (page + 1) * pageBytes)
      const before = old[page]?.['entries'] as Uint8Array | undefined
      if (before !== undefined && entries.equals(before)) continue
      if (before === undefined) this.#statements.addPage.run(id, page, entries)
      else this.#statements.setPage.run(entries, id, page)
    }
    if (old.length > count) this.#statements.dropPages.run(id, count)
  }

  // --- file systems

  /** The catalog's number for a file system of this identity. */
  filesystemNumber(identity: string): number {
    const known = this.#filesystems.get(identity)
    if (known !== undefined) return known
    const number = 1 + Math.max(0, ...this.#filesystems.values())
    this.#statements.addFilesystem.run(number, identity)
    this.#filesystems.set(identity, number)
    return number
  }

  /** Directories on which another file system is mounted, as far as they are still in the catalog. */
  mountPoints(): NodeId[] {
    return this.#statements.mountPoints.all().map((row) => row['node'] as NodeId)
  }

  addMountPoint(id: NodeId): void {
    this.#statements.addMountPoint.run(id)
  }

  // --- whole or not

  #standsAt(at: Sequence, cursor: Buffer): boolean {
    if (!this.#isWhole() || this.#sequence < at) return false
    const state = this.#database.prepare('SELECT cursor FROM state').get()
    if (this.#sequence === at ? !cursor.equals(bytesOf(state?.['cursor'])) : !this.#goBack(at, cursor)) return false
    this.#database.exec(
      'BEGIN IMMEDIATE; DELETE FROM undo_node; DELETE FROM undo_name; DELETE FROM undo_page; DELETE FROM batch; COMMIT',
    )
    this.#database
      .prepare('UPDATE state SET boot = ?, closed = 0, sequence = ?, first = ?, cursor = ?')
      .run(bootId(), at, at, cursor)
    this.#sequence = at
    return true
  }

  /** Written in this boot, or closed in order before: after a power failure nothing says which writes reached the disk. */
  #isWhole(): boolean {
    const state = this.#database.prepare('SELECT boot, closed FROM state').get()
    return state !== undefined && (state['boot'] === bootId() || state['closed'] === 1)
  }

  /** Undoes the batches after `at`; false where none ended there with this cursor, or it is too far back. */
  #goBack(at: Sequence, cursor: Buffer): boolean {
    const after = this.#database.prepare('SELECT before, nodes, drained, gap FROM batch WHERE first = ?').get(at + 1)
    if (after === undefined || !cursor.equals(bytesOf(after['before']))) return false
    const nodes = Number(after['nodes'])
    this.#database.exec('BEGIN IMMEDIATE')
    this.#database.exec(`
      DELETE FROM name WHERE node > ${nodes}; DELETE FROM page WHERE node > ${nodes}; DELETE FROM node WHERE id > ${nodes};`)
    this.#database.exec(
      goBack('node', ['id'], ['inode', 'stat', 'xattrs', 'content'], 'stat', { at, nodes, node: 'id' }),
    )
    this.#database.exec(goBack('name', ['parent', 'name'], ['node'], 'node', { at, nodes, node: 'coalesce(node, 0)' }))
    this.#database.exec(goBack('page', ['node', 'page'], ['entries'], 'entries', { at, nodes, node: 'node' }))
    // What was noted since is of what is undone.
    const { drained, gap } = after
    this.#database.prepare('UPDATE state SET drained = ?, gap = ?').run(drained ?? 0, gap ?? null)
    this.#database.exec('COMMIT')
    return true
  }

  /** What was written is made to survive a power failure, so that the next start may trust it. */
  [Symbol.dispose](): void {
    if (this.#open) this.#database.exec('ROLLBACK')
    this.#open = false
    this.#database.exec('PRAGMA synchronous = FULL')
    this.#database.exec('UPDATE state SET closed = 1')
    this.#database.exec('PRAGMA wal_checkpoint(TRUNCATE)')
    this.#database.close()
  }
}

class UnknownCatalog extends Error {
  override readonly name = 'UnknownCatalog'
}

/** Changes with every boot: what was not synced is whole as long as it is the same. */
const bootId = (): string => readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()

/**
 * Puts back the oldest image of every row that a batch after `at` changed, of nodes there were before; what the triggers
 * add meanwhile is dropped later.
 */
function goBack(
  table: string,
  keys: readonly string[],
  values: readonly string[],
  present: string,
  to: { at: Sequence; nodes: number; node: string },
): string {
  const columns = [...keys, ...values].join(', ')
  return `
    CREATE TEMP TABLE back AS SELECT ${columns}, min(n) AS n FROM undo_${table}
      WHERE at > ${to.at} AND ${to.node} <= ${to.nodes} GROUP BY ${keys.join(', ')};
    DELETE FROM ${table} WHERE (${keys.join(', ')}) IN (SELECT ${keys.join(', ')} FROM back);
    INSERT INTO ${table} (${columns}) SELECT ${columns} FROM back WHERE ${present} IS NOT NULL;
    DROP TABLE back;`
}

function prepare(database: DatabaseSync) {
  const nodeColumns = 'node.id, node.stat, node.xattrs, node.content'
  return {
    filesystems: database.prepare('SELECT number, identity FROM filesystem'),
    addFilesystem: database.prepare('INSERT INTO filesystem (number, identity) VALUES (?, ?)'),
    mountPoints: database.prepare('SELECT mount_point.node FROM mount_point JOIN node ON node.id = mount_point.node'),
    addMountPoint: database.prepare('INSERT OR IGNORE INTO mount_point (node) VALUES (?)'),
    setDrained: database.prepare('UPDATE state SET drained = ?'),
    setGap: database.prepare('UPDATE state SET gap = ?'),
    setFirst: database.prepare('UPDATE state SET first = ?, nodes = (SELECT coalesce(max(id), 0) FROM node)'),
    setSequence: database.prepare('UPDATE state SET sequence = ?, cursor = ?'),
    addBatch: database.prepare(
      'INSERT OR REPLACE INTO batch (first, last, before, nodes, drained, gap) SELECT first, ?, cursor, nodes, drained, gap FROM state',
    ),
    undoEnds: database.prepare(
      `SELECT (SELECT max(n) FROM undo_node) AS node, (SELECT max(n) FROM undo_name) AS name, (SELECT max(n) FROM undo_page) AS page`,
    ),
    forgetNodes: database.prepare('DELETE FROM undo_node WHERE n <= ?'),
    forgetNames: database.prepare('DELETE FROM undo_name WHERE n <= ?'),
    forgetPages: database.prepare('DELETE FROM undo_page WHERE n <= ?'),
    forgetBatches: database.prepare('DELETE FROM batch WHERE last <= ?'),
    node: database.prepare(`SELECT ${nodeColumns} FROM node WHERE id = ?`),
    child: database.prepare(
      `SELECT ${nodeColumns} FROM name JOIN node ON node.id = name.node WHERE parent = ? AND name = ?`,
    ),
    children: database.prepare(
      'SELECT name.name, node.id, node.stat FROM name JOIN node ON node.id = name.node WHERE parent = ? ORDER BY name.name',
    ),
    childNodes: database.prepare(
      `SELECT name.name, ${nodeColumns} FROM name JOIN node ON node.id = name.node WHERE parent = ?`,
    ),
    anyChild: database.prepare('SELECT 1 FROM name WHERE parent = ? LIMIT 1'),
    withInode: database.prepare(`SELECT ${nodeColumns} FROM node WHERE inode = ?`),
    names: database.prepare('SELECT parent, name FROM name WHERE node = ?'),
    anyName: database.prepare('SELECT 1 FROM name WHERE node = ? LIMIT 1'),
    addNode: database.prepare('INSERT INTO node (inode, stat, xattrs, content) VALUES (?, ?, ?, ?)'),
    addName: database.prepare('INSERT INTO name (parent, name, node) VALUES (?, ?, ?)'),
    dropName: database.prepare('DELETE FROM name WHERE parent = ? AND name = ?'),
    dropNode: database.prepare('DELETE FROM node WHERE id = ?'),
    setStat: database.prepare('UPDATE node SET inode = ?, stat = ? WHERE id = ?'),
    setFacts: database.prepare('UPDATE node SET inode = ?, stat = ?, xattrs = ?, content = ? WHERE id = ?'),
    pages: database.prepare('SELECT entries FROM page WHERE node = ? ORDER BY page'),
    addPage: database.prepare('INSERT INTO page (node, page, entries) VALUES (?, ?, ?)'),
    setPage: database.prepare('UPDATE page SET entries = ? WHERE node = ? AND page = ?'),
    dropPages: database.prepare('DELETE FROM page WHERE node = ? AND page >= ?'),
  }
}

/** SQLite's integers are signed. */
const inodeKey = (stat: Stat): bigint => BigInt.asIntN(64, inodeOf(stat))

type Row = Record<string, SQLOutputValue>

const bytesOf = (value: SQLOutputValue | undefined): Buffer => {
  const bytes = value as Uint8Array
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

const nodeOf = (row: Row): CatalogNode => ({
  id: row['id'] as NodeId,
  stat: bytesOf(row['stat']) as Stat,
  xattrs: row['xattrs'] === null ? undefined : bytesOf(row['xattrs']),
  content: row['content'] === null ? undefined : bytesOf(row['content']),
})
