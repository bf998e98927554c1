import { isCode } from '../../src/base/errors.ts'
import type { Capture, CapturedBatch, CaptureOutput } from '../../src/capture/capture.ts'
import { decodeBatch, encodeBatch } from '../../src/format/batch.ts'
import type { Stamped } from '../../src/model/batch.ts'
import { advance } from '../../src/model/sequence.ts'
import type { Id } from '../../src/model/source.ts'
import type { GrowingFile, Store, StoreName } from '../../src/store/store.ts'
import type { ChunkReader, JournalReader, StoredBatch } from '../../src/vault/reader.ts'
import type { Appender, VaultPort } from '../../src/wire/ports.ts'
import type { Plant } from './machinery.ts'
import { Trace } from './trace.ts'
import type { WorldKind } from './servers.ts'
import { runWorld } from './world.ts'

/** Faults as a programmer might make them, each put between two parts at their door: what the simulation must notice. */
export const planted: readonly { readonly fault: string; readonly plant: () => Plant }[] = [
  {
    fault: 'a batch is acknowledged before its segment is synced',
    plant: () => ({ vaultStore: (store) => syncingLate(store, (name) => name.startsWith('journals/')) }),
  },
  {
    fault: 'a pack is synced after the segment that refers to it was acknowledged',
    plant: () => ({ vaultStore: (store) => syncingLater(store, (name) => name.startsWith('packs/')) }),
  },
  {
    fault: 'a torn tail is kept when a file is opened after a crash',
    plant: () => ({ vaultStore: (store) => ({ ...store, truncate: async () => {} }) }),
  },
  {
    fault: 'the tail of a file is cut at a round length after a crash',
    plant: () => ({
      vaultStore: (store) => ({ ...store, truncate: (name, bytes) => store.truncate(name, bytes - (bytes % 512)) }),
    }),
  },
  {
    fault: 'a write that found no room is taken as done',
    plant: () => ({ vaultStore: (store) => withFiles(store, (file) => ({ ...file, append: ignoring(file.append) })) }),
  },
  {
    fault: 'a session goes on one batch too early after a cut',
    plant: () => ({ port: (port) => withAppender(port, resumingEarly) }),
  },
  {
    fault: 'the first batch of a session is acknowledged and not kept',
    plant: () => ({ port: (port) => withAppender(port, droppingFirst) }),
  },
  {
    fault: 'a batch that was sent again is appended in place of the next',
    plant: () => ({ port: (port) => withAppender(port, appendingTwice()) }),
  },
  {
    fault: 'a record that cannot be read is skipped',
    plant: () => ({ journal: (journal) => withBatches(journal, skippingSome) }),
  },
  {
    fault: 'a batch is applied a second time in place of the next',
    plant: () => ({ journal: (journal) => withBatches(journal, repeatingSome) }),
  },
  {
    fault: 'two batches change places',
    plant: () => ({ journal: (journal) => withBatches(journal, swappingSome) }),
  },
  {
    fault: 'the wrong chunk is given out',
    plant: () => ({ chunks: (chunks) => mixingUp(chunks) }),
  },
  {
    fault: 'retention drops one segment too many',
    plant: () => ({ vaultStore: droppingMore }),
  },
  {
    fault: 'retention does not keep what only the old segments held',
    plant: () => ({ retain: (parts) => ({ ...parts, keep: async () => {} }) }),
  },
  {
    fault: 'a collection frees chunks that are in use',
    plant: () => ({ inUse: () => false }),
  },
  {
    fault: 'the spool loses its first item and closes the gap',
    plant: () => ({ capture: (capture) => losingOne(capture) }),
  },
  {
    fault: 'the limit of the spool is not kept',
    plant: () => ({ spoolBytesMax: () => 1e9 }),
  },
  {
    fault: 'any agent may append to any journal',
    plant: () => ({ port: opening() }),
  },
]

/** How many seeds it takes until a world fails with this fault in it; undefined where none of `seedsMax` does. */
export async function seedsUntilCaught(
  plant: () => Plant,
  { from, seedsMax, kind = 'files' }: { readonly from: number; readonly seedsMax: number; readonly kind?: WorldKind },
): Promise<{ readonly seeds: number; readonly how: string } | undefined> {
  for (let seeds = 1; seeds <= seedsMax; seeds++) {
    try {
      await runWorld(from + seeds - 1, new Trace(), plant(), kind)
    } catch (error) {
      return { seeds, how: String(error).split('\n')[0]! }
    }
  }
  return undefined
}

// At the disk.

function withFiles(store: Store, changed: (file: GrowingFile) => GrowingFile): Store {
  // The methods of a growing file need not be its own properties, and its length changes.
  const whole = (file: GrowingFile): GrowingFile => ({
    name: file.name,
    get bytes() {
      return file.bytes
    },
    append: (parts) => file.append(parts),
    sync: () => file.sync(),
    [Symbol.asyncDispose]: () => file[Symbol.asyncDispose](),
  })
  const replaced = (file: GrowingFile): GrowingFile => {
    const made = changed(whole(file))
    return Object.defineProperty(made, 'bytes', { get: () => file.bytes })
  }
  return {
    ...store,
    create: async (name) => replaced(await store.create(name)),
    extend: async (name) => replaced(await store.extend(name)),
  }
}

/** Tells that the bytes are durable, and begins to make them so. */
const syncingLate = (store: Store, concerns: (name: StoreName) => boolean): Store =>
  withFiles(store, (file) => (concerns(file.name) ? { ...file, sync: ignoring(async () => void file.sync()) } : file))

/** Leaves most syncs to a later one. */
const syncingLater = (store: Store, concerns: (name: StoreName) => boolean): Store => {
  let count = 0
  return withFiles(store, (file) =>
    concerns(file.name) ? { ...file, sync: async () => (++count % 4 === 0 ? file.sync() : undefined) } : file,
  )
}

const droppingMore = (store: Store): Store => ({
  ...store,
  remove: async (name) => {
    await store.remove(name)
    if (!name.endsWith('.segment')) return
    const folder = name.slice(0, name.lastIndexOf('/'))
    const [next] = await store.list(folder)
    if (next?.name.endsWith('.segment')) await store.remove(next.name)
  },
})

const ignoring =
  <T extends unknown[]>(work: (...told: T) => Promise<void>) =>
  (...told: T): Promise<void> =>
    work(...told).catch(() => undefined)

// At the vault's door.

function withAppender(port: VaultPort, changed: (appender: Appender) => Partial<Appender>): VaultPort {
  return {
    ...port,
    append: async (agent, source, signal) => {
      const appender = await port.append(agent, source, signal)
      const instead = changed(appender)
      return new Proxy(appender, {
        get: (target, name) => {
          if (name in instead) return Reflect.get(instead, name)
          const value: unknown = Reflect.get(target, name)
          return typeof value === 'function' ? value.bind(target) : value
        },
      })
    },
  }
}

const resumingEarly = ({ durable }: Appender): Partial<Appender> => ({
  durable: durable > 3 ? advance(durable, -1) : durable,
})

const droppingFirst = (appender: Appender): Partial<Appender> => {
  let count = 0
  return { batch: async (bytes) => (count++ === 0 ? undefined : appender.batch(bytes)) }
}

/** The sender mixes up its buffers: what it sent last goes out again, under the numbers of what comes next. */
const appendingTwice =
  () =>
  (appender: Appender): Partial<Appender> => {
    let before: readonly Stamped[] = []
    return {
      batch: (bytes) => {
        const batch = decodeBatch(bytes)
        const isOne = before.length === batch.changes.length && batch.first % 5 === 0
        const changes = batch.changes.map(({ moment, change }, index) => ({
          moment,
          change: isOne ? before[index]!.change : change,
        }))
        before = batch.changes
        return appender.batch(encodeBatch({ ...batch, changes }))
      },
    }
  }

/** Does for anybody what the owner of a journal may do. */
function opening(): (port: VaultPort) => VaultPort {
  const owners = new Map<Id, Id>()
  return (port) => ({
    ...port,
    append: async (agent, source, signal) => {
      try {
        const appender = await port.append(agent, source, signal)
        owners.set(source, agent)
        return appender
      } catch (error) {
        if (!isCode(error, 'not-allowed')) throw error
        return port.append(owners.get(source)!, source, signal)
      }
    },
  })
}

// At the journal's reader.

type Batches = AsyncIterable<StoredBatch>

const withBatches = (journal: JournalReader, changed: (batches: Batches) => Batches): JournalReader => ({
  batches: (after, signal) => changed(journal.batches(after, signal)),
  batchOf: (at) => journal.batchOf(at),
  checkpoint: () => journal.checkpoint(),
})

async function* skippingSome(batches: Batches): Batches {
  let before: StoredBatch | undefined
  for await (const stored of batches) {
    const isSame = before?.batch.changes.length === stored.batch.changes.length
    before = stored
    if (isSame && stored.batch.first % 7 === 0)
      yield { ...stored, batch: { ...stored.batch, changes: marksOnly(stored) } }
    else yield stored
  }
}

/** As many changes as there were, none of which does anything. */
const marksOnly = ({ batch }: StoredBatch): Stamped[] =>
  batch.changes.map(({ moment }) => ({ moment, change: { kind: 'mark', mark: { type: 'user', label: '' } } }))

async function* repeatingSome(batches: Batches): Batches {
  let before: StoredBatch | undefined
  for await (const stored of batches) {
    const isOne = before?.batch.changes.length === stored.batch.changes.length && stored.batch.first % 7 === 0
    yield isOne ? withChangesOf(stored, before!) : stored
    before = stored
  }
}

async function* swappingSome(batches: Batches): Batches {
  let held: StoredBatch | undefined
  for await (const stored of batches) {
    if (held === undefined && stored.batch.first % 5 === 0) {
      held = stored
      continue
    }
    if (held?.batch.changes.length === stored.batch.changes.length) {
      yield withChangesOf(held, stored)
      yield withChangesOf(stored, held)
    } else {
      if (held) yield held
      yield stored
    }
    held = undefined
  }
  if (held) yield held
}

const withChangesOf = (stored: StoredBatch, other: StoredBatch): StoredBatch => ({
  ...stored,
  batch: {
    ...stored.batch,
    changes: stored.batch.changes.map(({ moment }, index) => ({ moment, change: other.batch.changes[index]!.change })),
  },
})

function mixingUp(chunks: ChunkReader): ChunkReader {
  const known = new Map<number, Buffer>()
  return {
    read: async (id) => {
      const data = await chunks.read(id)
      const other = known.get(data.length)
      known.set(data.length, data)
      return other ?? data
    },
  }
}

// At the capture's door.

function losingOne(capture: Capture): Capture {
  return new Proxy(capture, {
    get: (target, name) => {
      if (name === 'outputs') return renumbered(target.outputs)
      const value: unknown = Reflect.get(target, name)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

/** Drops the first live batch, and counts those after it on without a gap. */
async function* renumbered(outputs: AsyncIterable<CaptureOutput>): AsyncGenerator<CaptureOutput> {
  let lost = 0
  for await (const output of outputs) {
    if (output.kind !== 'batch') yield output
    else if (lost === 0 && !output.bulk && output.first > 5) lost = output.last - output.first + 1
    else yield lost === 0 ? output : earlier(output, lost)
  }
}

function earlier(output: CapturedBatch, by: number): CapturedBatch {
  const batch = decodeBatch(output.bytes)
  const first = advance(batch.first, -by)
  return {
    ...output,
    first,
    last: advance(output.last, -by),
    bytes: encodeBatch({ ...batch, first }),
    marks: output.marks.map(({ tag, sequence }) => ({ tag, sequence: advance(sequence, -by) })),
  }
}
