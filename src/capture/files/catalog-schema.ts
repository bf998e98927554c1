import type { SQLOutputValue } from 'node:sqlite'

/**
 * The catalog's tables. A name belongs to a directory, a node may have several names (hard links).
 *
 * node.content   file: its signature where that has at most one entry, NULL where it is kept in pages;
 *                symlink: its target; other types: NULL
 * node.xattrs    what the extended attributes were: a hash, NULL where there are none
 * batch          the batches that may not be durable yet; before: the cursor of the one before; nodes: the last node then;
 *                drained, gap: what was noted until then (catalog-batches.ts)
 * undo_*         what a row was before a batch that may not be durable yet changed it; NULLs where there was no row.
 *                `at` is the first sequence of that batch.
 */
export const catalogVersion = 2

/** `node` is the column that names the node: what is new with the batch needs no undoing, it is simply dropped. */
const undoOf = (table: string, node: string, columns: readonly string[], keys: readonly string[]): string => {
  const old = columns.map((column) => `old.${column}`).join(', ')
  const created = columns.map((column) => (keys.includes(column) ? `new.${column}` : 'NULL')).join(', ')
  const insert = `INSERT INTO undo_${table} (at, ${columns.join(', ')})`
  const when = (row: string) => `WHEN ${row}.${node} <= (SELECT nodes FROM state)`
  const at = '(SELECT first FROM state)'
  return `
    CREATE TRIGGER ${table}_inserted AFTER INSERT ON ${table} ${when('new')} BEGIN
      ${insert} VALUES (${at}, ${created}); END;
    CREATE TRIGGER ${table}_updated AFTER UPDATE ON ${table} ${when('old')} BEGIN
      ${insert} VALUES (${at}, ${old}); END;
    CREATE TRIGGER ${table}_deleted AFTER DELETE ON ${table} ${when('old')} BEGIN
      ${insert} VALUES (${at}, ${old}); END;`
}

const undoTriggers =
  undoOf('node', 'id', ['id', 'inode', 'stat', 'xattrs', 'content'], ['id']) +
  undoOf('name', 'node', ['parent', 'name', 'node'], ['parent', 'name']) +
  undoOf('page', 'node', ['node', 'page', 'entries'], ['node', 'page'])

export const catalogSchema = `
  CREATE TABLE state (
    version INTEGER NOT NULL, sequence INTEGER NOT NULL, cursor BLOB NOT NULL, first INTEGER NOT NULL, nodes INTEGER NOT NULL,
    boot TEXT NOT NULL, closed INTEGER NOT NULL, drained INTEGER NOT NULL, gap INTEGER, seed BLOB NOT NULL);
  CREATE TABLE batch (first INTEGER PRIMARY KEY, last INTEGER NOT NULL, before BLOB NOT NULL, nodes INTEGER NOT NULL,
    drained INTEGER NOT NULL, gap INTEGER);
  CREATE TABLE filesystem (number INTEGER PRIMARY KEY, identity TEXT NOT NULL UNIQUE);
  CREATE TABLE mount_point (node INTEGER PRIMARY KEY);
  CREATE TABLE node (id INTEGER PRIMARY KEY AUTOINCREMENT, inode INTEGER NOT NULL, stat BLOB NOT NULL, xattrs BLOB, content BLOB);
  CREATE INDEX node_inode ON node (inode);
  CREATE TABLE name (parent INTEGER NOT NULL, name TEXT NOT NULL, node INTEGER NOT NULL, PRIMARY KEY (parent, name)) WITHOUT ROWID;
  CREATE INDEX name_node ON name (node);
  CREATE TABLE page (node INTEGER NOT NULL, page INTEGER NOT NULL, entries BLOB NOT NULL, PRIMARY KEY (node, page)) WITHOUT ROWID;
  CREATE TABLE undo_node (n INTEGER PRIMARY KEY, at INTEGER NOT NULL, id INTEGER NOT NULL, inode INTEGER, stat BLOB, xattrs BLOB, content BLOB);
  CREATE TABLE undo_name (n INTEGER PRIMARY KEY, at INTEGER NOT NULL, parent INTEGER NOT NULL, name TEXT NOT NULL, node INTEGER);
  CREATE TABLE undo_page (n INTEGER PRIMARY KEY, at INTEGER NOT NULL, node INTEGER NOT NULL, page INTEGER NOT NULL, entries BLOB);
  ${undoTriggers}`

export const bytesOf = (value: SQLOutputValue | undefined): Buffer => {
  const bytes = value as Uint8Array
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
