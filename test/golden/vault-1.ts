import { systemClock } from '../../src/base/clock.ts'
import type { Clock } from '../../src/base/clock.ts'
import type { Change } from '../../src/model/change.ts'
import { moment } from '../../src/model/moment.ts'
import { type BinaryString, treePath } from '../../src/model/path.ts'
import { sequence } from '../../src/model/sequence.ts'
import type { Store } from '../../src/store/store.ts'
import { Seeded } from '../sim/random.ts'
import { addAgentWithSource, attributes, batchOf, blockOf, newTestVault, putFile, start } from '../support/vault-world.ts'

/**
 * The vault whose bytes are kept in vault-1/, as format version 1 writes it: something of every kind. What is in
 * vault-1/ is never written again; a later format gets a folder of its own. How it was made:
 *
 *   node -e "import('./test/golden/vault-1.ts').then(async ({ writeGoldenVault }) => writeGoldenVault(
 *     await (await import('./src/store/directory.ts')).directoryStore('test/golden/vault-1')))"
 */
export const goldenContents = [Buffer.from('first chunk'), Buffer.alloc(3000, 'second '), Buffer.from('third')] as const

const file = (path: string) => ({ path: treePath(path), attributes })
const xattrs = [{ name: 'user.note' as BinaryString, value: Buffer.from([0, 1, 255]) }]

export const goldenChanges = (vault: { readonly chunkKey: Uint8Array }): Change[] => {
  const { chunks } = blockOf(vault, ...goldenContents)
  const [first, second] = chunks
  if (!first || !second) throw new Error('three chunks make a block of three')
  return [
    { kind: 'mark', mark: { type: 'suspect', reason: 'baseline' } },
    { kind: 'put', ...file('srv'), content: { type: 'directory' } },
    putFile('srv/file', chunks),
    {
      kind: 'put',
      path: treePath('srv/inline'),
      attributes: { mode: 0o4755, uid: 0, gid: 4_000_000_000, modifiedNs: -1n, xattrs },
      content: { type: 'file', bytes: 5_000_000_000, extents: [{ at: 4_000_000_000, bytes: 3, data: Buffer.from('abc') }] },
    },
    { kind: 'put', ...file('srv/link'), content: { type: 'symlink', target: '../\xff' as BinaryString } },
    { kind: 'put', ...file('srv/fifo'), content: { type: 'fifo' } },
    { kind: 'put', ...file('srv/socket'), content: { type: 'socket' } },
    { kind: 'put', ...file('srv/tty'), content: { type: 'character-device', major: 4, minor: 64 } },
    { kind: 'put', ...file('srv/disk'), content: { type: 'block-device', major: 259, minor: 1 } },
    { kind: 'mark', mark: { type: 'complete', reason: 'baseline' } },
    {
      kind: 'patch',
      ...file('srv/file'),
      bytes: 4000,
      extents: [
        { at: 0, bytes: 3, data: Buffer.from('FIR') },
        { at: 100, bytes: second.data.length, chunk: second.id },
      ],
      zeros: [{ at: 3, bytes: 2 }],
    },
    { kind: 'link', path: treePath('srv/name'), to: treePath('srv/file') },
    { kind: 'rename', path: treePath('srv/moved'), from: treePath('srv/name') },
    { kind: 'remove', path: treePath('srv/fifo') },
    { kind: 'attributes', path: treePath('srv'), attributes: { ...attributes, mode: 0o700 } },
    { kind: 'write', path: treePath('log'), at: 3, data: Buffer.from('line') },
    { kind: 'zero', path: treePath('log'), at: 4, bytes: 1 },
    { kind: 'truncate', path: treePath('log'), bytes: 6 },
    { kind: 'mark', mark: { type: 'hole', since: moment(start), reason: 'spool voll ü' } },
    { kind: 'mark', mark: { type: 'torn', path: treePath('srv/file') } },
    { kind: 'mark', mark: { type: 'vanished', path: treePath('srv') } },
    { kind: 'mark', mark: { type: 'user', label: 'before the upgrade' } },
  ]
}

/** After this one, history was dropped in the journal of the second agent. */
export const goldenCheckpointAt = sequence(20)

const still: Clock = { now: () => start, monotonicMs: () => 0, sleep: (ms, signal) => systemClock.sleep(ms, signal) }

export async function writeGoldenVault(store: Store): Promise<void> {
  const random = new Seeded(1)
  await using vault = await newTestVault({ store, random, clock: still, limits: { segmentBytes: 1500, packBytes: 2000 } })
  await vault.registry.setSecret('ca', Buffer.from('a secret'))
  await vault.registry.addToken({ secret: 'token', created: start, expires: moment(start + 1) })
  const forever = new AbortController().signal
  const { bytes, chunks } = blockOf(vault, ...goldenContents)

  const first = await addAgentWithSource(vault, 'first')
  await using appender = await vault.appender(first.agent, first.source, forever)
  await appender.block(bytes)
  await appender.batch(batchOf(1, goldenChanges(vault)))

  const second = await addAgentWithSource(vault, 'second')
  await using other = await vault.appender(second.agent, second.source, forever)
  await other.block(bytes)
  for (let at = 1; at <= 30; at++) await other.batch(batchOf(at, [putFile(`f${at}`, chunks)]))
  const journal = vault.journal(second.source)
  await journal.writeCheckpoint(goldenCheckpointAt, moment(start + 20), [
    { kind: 'put', path: treePath(''), attributes, content: { type: 'directory' } },
    ...Array.from({ length: 20 }, (_, index) => putFile(`f${index + 1}`, chunks)),
  ])
  await journal.dropBefore(goldenCheckpointAt)
}
