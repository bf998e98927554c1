import { rmSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { Sealing } from './sealing.ts'

/**
 * The index of one journal: which path had which content from which sequence to which. Derived from the journal and
 * rebuilt at will; reasons and measurements are in docs/decisions/0003-index.md.
 *
 * - A row holds from `since` on, up to but not including `until`; `until` = `forever` says that it still holds.
 * - A *node* is what names refer to: a file with three hard links is one node with three entries. Its type never
 *   changes and its number is never used again; 1 is the root of the tree, which has no entry.
 * - A version holds until the next one of its node. It names the bytes of a file in `content`:
 *     NULL      none: all of its `bytes` are zeros
 *     a blob    one chunk is the whole file
 *     negative  the data standing in the change of sequence -content is the whole file
 *     positive  the extents of that content, each of them valid for its own span
 *   `linked` is 1 once the node has had a second name at any time; only then do its names have to be counted.
 * - Writes of one batch into a file that is there, and stays as long, make one version: its extents say what each changed.
 * - An extent's `location` is a chunk (blob) or the sequence of the change in which the data stands; its bytes start
 *   `skip` bytes into that chunk or data; `cut` is 0 where they are all of it, else 1, or 2 where they are known to be its end:
 *   retention makes one chunk of neighbours, whose rows go on as its parts. The data is the extent (or write) of that
 *   change that began at `at` - `skip`.
 * - The parts that are written of a large file are *packed*: no row of extents is made or ended for them. What came with a
 *   commit is a *run*, sorted by (at, since), in pages (runs/page.ts) with a *fence* for each: at a point the newest row of any
 *   run that lies over a place says what stands there, and where none does the rows of extents. Some runs that follow one
 *   another in time become one. Their chunks stand in `run_chunk`.
 * - Retention *folds* what runs left at a sequence into rows of extents that begin there (`folded`). For a point from there
 *   on, all that runs say up to there is void.
 * - Rows of entry and version are numbered in the order of their `since`; a batch tells the numbers at its beginning,
 *   so that "what began between two sequences" is a range of rows.
 * - A batch tells the segment and the frame it was read from, which are looked into first.
 * - Marks of flushes are many and say nothing more: they stand in `flush`, numbered without gaps, so that those of a
 *   stretch are counted by two of them.
 * - Points are kept from `checkpoint` on; rows that ended before it are gone up to the sequence `pruned`.
 * - Columns that hold a number or a blob are of type INTEGER, which leaves blobs as they are.
 * - Names, details (extended attributes, link targets, device numbers), labels and marked paths are sealed
 *   (sealing.ts); `tag` is the first 48 bits of the sealed name.
 */
const schemaVersion = 6
export const forever = Number.MAX_SAFE_INTEGER
export const rootNode = 1
/** Of `cut`: a part of a chunk, and the last one. */
export const endsChunk = 2

const schema = `
CREATE TABLE entry(
  id INTEGER PRIMARY KEY, parent INTEGER NOT NULL, tag INTEGER NOT NULL, name BLOB NOT NULL,
  since INTEGER NOT NULL, until INTEGER NOT NULL, node INTEGER NOT NULL, type INTEGER NOT NULL);
CREATE INDEX entry_child ON entry(parent, tag, until, since);
CREATE INDEX entry_node ON entry(node);
CREATE INDEX entry_ended ON entry(until) WHERE until < ${forever};
CREATE TABLE version(
  id INTEGER PRIMARY KEY, node INTEGER NOT NULL, since INTEGER NOT NULL, linked INTEGER NOT NULL,
  bytes INTEGER NOT NULL, attributes BLOB NOT NULL, content INTEGER, detail BLOB);
CREATE UNIQUE INDEX version_node ON version(node, since);
CREATE TABLE extent(
  content INTEGER NOT NULL, at INTEGER NOT NULL, since INTEGER NOT NULL, until INTEGER NOT NULL,
  bytes INTEGER NOT NULL, skip INTEGER NOT NULL, cut INTEGER NOT NULL, location INTEGER NOT NULL,
  PRIMARY KEY (content, at, since)) WITHOUT ROWID;
CREATE INDEX version_inline ON version(content) WHERE content < 0;
CREATE INDEX extent_ended ON extent(until) WHERE until < ${forever};
CREATE INDEX extent_now ON extent(content, at) WHERE until = ${forever};
CREATE INDEX extent_inline ON extent(location) WHERE typeof(location) = 'integer';
CREATE INDEX extent_cut ON extent(content) WHERE cut > 0;
CREATE TABLE packed(content INTEGER PRIMARY KEY);
CREATE TABLE folded(content INTEGER NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (content, at)) WITHOUT ROWID;
CREATE TABLE run(
  id INTEGER PRIMARY KEY, content INTEGER NOT NULL, state INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
  rows INTEGER NOT NULL, bytes_max INTEGER NOT NULL, end INTEGER NOT NULL);
CREATE INDEX run_content ON run(content, state);
CREATE INDEX run_gone ON run(id) WHERE state = 2;
CREATE TABLE fence(
  run INTEGER NOT NULL, at INTEGER NOT NULL, since INTEGER NOT NULL, since_min INTEGER NOT NULL, until INTEGER NOT NULL,
  page INTEGER NOT NULL, PRIMARY KEY (run, at, since)) WITHOUT ROWID;
CREATE TABLE page(id INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE run_chunk(
  content INTEGER NOT NULL, since INTEGER NOT NULL, at INTEGER NOT NULL, chunk BLOB NOT NULL,
  PRIMARY KEY (content, since, at)) WITHOUT ROWID;
CREATE TABLE batch(
  first INTEGER PRIMARY KEY, last INTEGER NOT NULL, first_moment INTEGER NOT NULL, last_moment INTEGER NOT NULL,
  received INTEGER NOT NULL, settled INTEGER NOT NULL, bytes INTEGER NOT NULL, bytes_total INTEGER NOT NULL, moments BLOB,
  entry_from INTEGER NOT NULL, version_from INTEGER NOT NULL,
  segment INTEGER, frame_at INTEGER, frame_bytes INTEGER);
CREATE INDEX batch_moment ON batch(first_moment);
CREATE TABLE mark(
  id INTEGER PRIMARY KEY, sequence INTEGER NOT NULL, moment INTEGER NOT NULL, type TEXT NOT NULL,
  since INTEGER, detail BLOB);
CREATE INDEX mark_sequence ON mark(sequence);
CREATE INDEX mark_type ON mark(type, sequence);
CREATE TABLE flush(sequence INTEGER PRIMARY KEY, number INTEGER NOT NULL);
CREATE TABLE state(
  id INTEGER PRIMARY KEY, indexed INTEGER NOT NULL, moment INTEGER NOT NULL,
  checkpoint INTEGER NOT NULL, checkpoint_moment INTEGER NOT NULL, pruned INTEGER NOT NULL,
  node INTEGER NOT NULL, content INTEGER NOT NULL, files INTEGER NOT NULL, bytes INTEGER NOT NULL,
  bytes_total INTEGER NOT NULL, misfits INTEGER NOT NULL, proof BLOB NOT NULL);
`

/** As EntryRow and VersionRow have them. */
export const entryColumns = 'id, parent, tag, name, since, until, node, type'
export const versionColumns = 'id, node, since, linked, bytes, attributes, content, detail'

/** Known only to who has the key: tells an index of another key from a good one. */
const proof = Buffer.from('tidemark index')

export const memoryLocation = ':memory:'

/** Opens the index to write. One that is of another schema, another key or no database at all is made anew, empty. */
export function openToWrite(location: string, sealing: Sealing): DatabaseSync {
  const existing = openExisting(location, sealing)
  if (existing !== undefined) return existing
  removeIndex(location)
  const database = new DatabaseSync(location)
  tune(database)
  database.exec('BEGIN')
  database.exec(schema)
  database
    .prepare('INSERT INTO state VALUES (1, 0, 0, 0, 0, 0, ?, 0, 0, 0, 0, 0, ?)')
    .run(rootNode, sealing.seal(proof))
  database.exec(`PRAGMA user_version = ${schemaVersion}`)
  database.exec('COMMIT')
  return database
}

/** Opens the index to read while another connection writes. Undefined where there is none of this schema and key. */
export function openToRead(location: string, sealing: Sealing): DatabaseSync | undefined {
  let database: DatabaseSync
  try {
    database = new DatabaseSync(location, { readOnly: true, timeout: busyMs })
  } catch {
    return undefined
  }
  if (isOurs(database, sealing)) return database
  database.close()
  return undefined
}

function openExisting(location: string, sealing: Sealing): DatabaseSync | undefined {
  if (location === memoryLocation) return undefined
  const database = new DatabaseSync(location, { timeout: busyMs })
  if (isOurs(database, sealing)) {
    tune(database)
    return database
  }
  database.close()
  return undefined
}

/** False also for what SQLite cannot read: an index is never mended, only rebuilt. */
function isOurs(database: DatabaseSync, sealing: Sealing): boolean {
  try {
    if (database.prepare('PRAGMA user_version').get()?.['user_version'] !== schemaVersion) return false
    const found = database.prepare('SELECT proof FROM state').get()?.['proof']
    return found instanceof Uint8Array && sealing.seal(proof).equals(found)
  } catch {
    return false
  }
}

export function removeIndex(location: string): void {
  if (location === memoryLocation) return
  for (const suffix of ['', '-wal', '-shm']) rmSync(location + suffix, { force: true })
}

const busyMs = 5_000
const cacheKib = 64 * 1024
const logPages = 16 * 1024

function tune(database: DatabaseSync): void {
  database.exec(`
    PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
    PRAGMA cache_size = -${cacheKib}; PRAGMA wal_autocheckpoint = ${logPages}`)
}
