import type { KeyObject } from 'node:crypto'
import type { Random } from '../base/random.ts'
import { decodeCheckpointHead, decodeGroup, encodeCheckpointHead, encodeGroups } from '../format/checkpoint.ts'
import { headerBytes, noHash } from '../format/sealed-file.ts'
import type { Change } from '../model/change.ts'
import type { Moment } from '../model/moment.ts'
import { sequence, type Sequence } from '../model/sequence.ts'
import type { Id } from '../model/source.ts'
import { damaged, readStored } from '../store/damaged.ts'
import { openSealed, type SealedReader } from '../store/sealed-reader.ts'
import { createSealed } from '../store/sealed-writer.ts'
import type { Store } from '../store/store.ts'
import { checkpointName, journalFolder, numberIn } from './names.ts'
import type { Checkpoint } from './reader.ts'

/** Sequences of the checkpoint files of a journal, whole or not, ascending. */
export async function checkpointSequences(store: Store, source: Id): Promise<Sequence[]> {
  const files = await store.list(`${journalFolder(source)}/checkpoints`)
  return files
    .map(({ name }) => numberIn(name, 'checkpoint'))
    .filter((number) => number !== undefined)
    .map(sequence)
}

export async function writeCheckpoint(
  parts: { readonly store: Store; readonly random: Random },
  source: Id,
  key: KeyObject,
  told: { readonly at: Sequence; readonly moment: Moment; readonly changes: AsyncIterable<Change> | Iterable<Change> },
): Promise<void> {
  const { at } = told
  const name = checkpointName(source, at)
  const header = { kind: 'checkpoint', owner: source, number: at, first: at, before: noHash } as const
  const writer = await createSealed(parts, name, key, header)
  let whole = false
  try {
    writer.add('checkpoint-head', [encodeCheckpointHead(told.moment)])
    for await (const group of encodeGroups(told.changes)) {
      writer.add('manifest-group', [group])
      await writer.flush()
    }
    await writer.seal(at)
    whole = true
  } finally {
    await writer[Symbol.asyncDispose]()
    if (!whole) await parts.store.remove(name)
  }
}

/** The checkpoint at `at`; undefined where it was not written to its end. */
export async function readCheckpoint(
  store: Store,
  source: Id,
  key: KeyObject,
  at: Sequence,
): Promise<Checkpoint | undefined> {
  const file = await openSealed(store, checkpointName(source, at), key)
  if (file.header.owner !== source || file.header.first !== at || file.header.kind !== 'checkpoint') {
    throw damaged(file.name, 0, `it is the ${file.header.kind} of another place`)
  }
  if (!(await file.seal())) return undefined
  const head = await file.scan().next()
  if (head?.type !== 'checkpoint-head') throw damaged(file.name, headerBytes, 'it has no head')
  const moment = readStored(file.name, head.at, () => decodeCheckpointHead(head.payload))
  return { at, moment, changes: groupsOf(file) }
}

async function* groupsOf(file: SealedReader): AsyncGenerator<readonly Change[]> {
  for await (const { type, at, payload } of file.frames()) {
    if (type === 'manifest-group') yield readStored(file.name, at, () => decodeGroup(payload))
  }
}
