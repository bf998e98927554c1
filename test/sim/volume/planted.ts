import type { LogFile, VolumeFiles } from '../../../src/capture/volume/server/files.ts'
import type { ServerLink } from '../../../src/capture/volume/server-link.ts'
import { parseSegmentName } from '../../../src/format/volume-log.ts'
import type { Plant } from '../machinery.ts'

/** Faults of a volume and its capture as a programmer might make them, each put at a door. */
export const plantedVolumes: readonly { readonly fault: string; readonly plant: () => Plant }[] = [
  {
    fault: 'a flush is answered before the log is synced',
    plant: () => ({ volumeFiles: (files) => withSegments(files, (file) => ({ ...file, sync: async () => {} })) }),
  },
  {
    fault: 'the first record that is replayed is skipped',
    plant: () => ({ volumeFiles: skippingFirst }),
  },
  {
    fault: 'a checkpoint is made of what the backing has not synced',
    plant: () => ({
      volumeFiles: ({ log, backing }) => ({ log, backing: { ...backing, sync: async () => {} } }),
    }),
  },
  {
    fault: 'a part that is copied was read before it was asked for',
    plant: () => ({ volumeLink: readingAhead }),
  },
  {
    fault: 'a record is shipped twice in place of the next',
    plant: () => ({ volumeLink: repeatingSome }),
  },
]

// At the disks.

function withSegments({ log, backing }: VolumeFiles, changed: (file: LogFile) => LogFile): VolumeFiles {
  const wrap = (file: LogFile, name: string): LogFile =>
    name === 'spare' || parseSegmentName(name) !== undefined ? changed(file) : file
  return {
    backing,
    log: {
      ...log,
      create: async (name, bytes) => wrap(await log.create(name, bytes), name),
      open: async (name) => {
        const file = await log.open(name)
        return file && wrap(file, name)
      },
    },
  }
}

/** What a server writes to the backing first is what it replays. */
function skippingFirst({ log, backing }: VolumeFiles): VolumeFiles {
  let isFirst = true
  const apply: VolumeFiles['backing']['apply'] = (steps) => {
    const kept = isFirst ? steps.slice(1) : steps
    isFirst = false
    return backing.apply(kept)
  }
  return { log, backing: { ...backing, apply } }
}

// Between server and capture.

const whole = (link: ServerLink): ServerLink => ({
  volume: link.volume,
  messages: link.messages,
  tell: (message) => link.tell(message),
  read: (at, bytes) => link.read(at, bytes),
  isZeros: (at, bytes) => link.isZeros(at, bytes),
  records: (after, upTo) => link.records(after, upTo),
  [Symbol.asyncDispose]: () => link[Symbol.asyncDispose](),
})

function readingAhead(link: ServerLink): ServerLink {
  const ahead = new Map<number, Promise<Uint8Array>>()
  const read: ServerLink['read'] = (at, bytes) => {
    const known = ahead.get(at)
    const next = at + bytes
    if (next + bytes <= link.volume.bytes && !ahead.has(next)) {
      const reading = link.read(next, bytes)
      reading.catch(() => undefined)
      ahead.set(next, reading)
    }
    return known?.then((found) => (found.length === bytes ? found : link.read(at, bytes))) ?? link.read(at, bytes)
  }
  return { ...whole(link), isZeros: async () => false, read }
}

function repeatingSome(link: ServerLink): ServerLink {
  async function* records(after: number, upTo: number): ReturnType<ServerLink['records']> & AsyncGenerator {
    for await (const group of link.records(after, upTo)) {
      yield group.map((record, index) => {
        const before = group[index - 1]
        return before !== undefined && record.number % 17 === 0 ? { ...before, number: record.number } : record
      })
    }
  }
  return { ...whole(link), records }
}
