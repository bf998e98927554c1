import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { Malformed } from '../../../base/bytes.ts'
import { systemClock } from '../../../base/clock.ts'
import { systemRandom } from '../../../base/random.ts'
import { defaultVolume, type Id } from '../../../model/source.ts'
import { Seeded } from '../../../../test/sim/random.ts'
import { openControl } from '../connect.ts'
import type { FromVolumeServer, ToVolumeServer } from '../control.ts'
import { formatLine, lineBytesMax, parseFromServer, parseToServer } from '../control-lines.ts'
import { VolumeDisk } from '../server/disk.ts'
import { nodeVolumeFiles } from '../server/node-files.ts'
import { volumeFolder, type VolumeFolder } from '../volume-folder.ts'
import { ControlServer } from './control-server.ts'

const bytes = 4 * 1024 * 1024
const seed = Number(process.env['TIDEMARK_SEED'] ?? 20_261_124)

const toServer: readonly ToVolumeServer[] = [
  { kind: 'acknowledged', epoch: 3, number: 17 },
  { kind: 'line', up: true },
  { kind: 'mark', tag: 4, label: 'before the upgrade ✓' },
  { kind: 'ask-place', tag: 1 },
  { kind: 'ask-touched', tag: 2, from: 0 },
  { kind: 'healed', regions: [1, 2, 3], number: 4 },
  { kind: 'settings', settings: { ...defaultVolume, backing: '/dev/sdb1', zeroLoss: { degradeMs: 30_000 } } },
  { kind: 'release' },
]
const fromServer: readonly FromVolumeServer[] = [
  {
    kind: 'volume',
    epoch: 3,
    bytes,
    regionBytes: 65_536,
    first: 1,
    acknowledged: { epoch: 3, number: 0 },
    software: 'x',
  },
  { kind: 'durable', epoch: 3, number: 17 },
  { kind: 'marked', tag: 4, number: 18 },
  { kind: 'place', tag: 1, epoch: 3, number: 18 },
  { kind: 'touched', tag: 2, regions: [0, 5], next: 6 },
  { kind: 'state', clients: 1, logBytes: 0, unsentBytes: 17, problems: [{ code: 'x', message: 'y', hint: 'z' }] },
]

test('every message comes back from its line', () => {
  for (const message of toServer) assert.deepEqual(parseToServer(formatLine(message)), message)
  for (const message of fromServer) assert.deepEqual(parseFromServer(formatLine(message)), message)
})

test('a line that is none is refused as that, whatever it is', () => {
  const random = new Seeded(seed)
  for (let round = 0; round < 3000; round++) {
    const line = mutated(formatLine(random.pick([...toServer, ...fromServer])), random)
    for (const parse of [parseToServer, parseFromServer]) {
      try {
        parse(line)
      } catch (error) {
        assert.ok(error instanceof Malformed, `${line}: ${String(error)}`)
      }
    }
  }
})

test('a server that hears nonsense goes on for the next agent', async (t) => {
  const random = new Seeded(seed)
  const { folder, disk } = await begin(t)
  for (let round = 0; round < 60; round++) await talkNonsense(folder, random)
  const { signal } = new AbortController()
  const control = await openControl(folder, signal)
  assert.deepEqual({ epoch: control.volume.epoch, bytes: control.volume.bytes }, { epoch: disk.epoch, bytes })
  control.tell({ kind: 'mark', tag: 9, label: 'still there' })
  control.tell({ kind: 'ask-place', tag: 10 })
  control.tell({ kind: 'ask-touched', tag: 11, from: 0 })
  const heard = new Set<string>()
  for await (const message of control.messages) {
    if (message.kind === 'place' || message.kind === 'marked' || message.kind === 'touched')
      heard.add(`${message.kind} ${message.tag}`)
    if (heard.size === 3) break
  }
  assert.deepEqual(heard, new Set(['marked 9', 'place 10', 'touched 11']))
  control.end()
})

test('the newest agent is the one that is heard', async (t) => {
  const { folder } = await begin(t)
  const { signal } = new AbortController()
  const older = await openControl(folder, signal)
  const newer = await openControl(folder, signal)
  for await (const _ of older.messages) continue
  newer.tell({ kind: 'ask-place', tag: 1 })
  for await (const message of newer.messages) if (message.kind === 'place') break
  newer.end()
})

async function begin(t: TestContext): Promise<{ folder: VolumeFolder; disk: VolumeDisk }> {
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-control-'))
  t.after(() => rmSync(directory, { recursive: true }))
  const folder = volumeFolder(directory)
  const backing = join(directory, 'backing')
  writeFileSync(backing, Buffer.alloc(bytes))
  const files = await nodeVolumeFiles({ logFolder: folder.log, backing })
  let control: ControlServer | undefined
  const disk = await VolumeDisk.open({
    files,
    clock: systemClock,
    random: systemRandom,
    volume: '0'.repeat(32) as Id,
    name: 'test',
    settings: { ...defaultVolume, backing },
    limits: { segmentBytes: 1024 * 1024 },
    told: { durable: () => control?.durable(), epoch: () => control?.epoch(), ended: () => undefined },
  })
  control = await ControlServer.listen({
    path: folder.control,
    disk,
    software: 'test',
    clients: () => 0,
    problems: () => [],
    released: () => undefined,
    noted: () => undefined,
    clock: systemClock,
  })
  const listening = control
  t.after(async () => {
    await listening[Symbol.asyncDispose]()
    await disk[Symbol.asyncDispose]()
    await files[Symbol.asyncDispose]()
  })
  return { folder, disk }
}

/** Some of it is well formed. */
async function talkNonsense(folder: VolumeFolder, random: Seeded): Promise<void> {
  const socket = net.connect(folder.control)
  await once(socket, 'connect')
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  // The other end may hang up on what it hears.
  socket.on('error', () => undefined)
  socket.resume()
  for (let count = random.integer(0, 20); count > 0; count--) {
    const line = random.chance(0.3)
      ? formatLine(random.pick(harmless))
      : mutated(formatLine(random.pick(toServer)), random)
    socket.write(random.chance(0.05) ? Buffer.from(random.bytes(300)) : line)
  }
  if (random.chance(0.1)) socket.write('x'.repeat(lineBytesMax + 2))
  if (random.chance(0.5)) socket.destroy()
  else socket.end()
  await closed
}

const harmless = toServer.filter(({ kind }) => kind !== 'release')

function mutated(line: string, random: Seeded): string {
  const text = [...line]
  for (let count = random.integer(1, 4); count > 0; count--) {
    const at = random.integer(0, text.length - 1)
    if (random.chance(0.3)) text.splice(at, random.integer(1, 5))
    else
      text[at] = random.pick([
        '0',
        '9',
        '-',
        '"',
        '{',
        '}',
        '[',
        ']',
        ',',
        'e',
        '.',
        '\\',
        'null',
        '1e400',
        '\u0000',
        '✓',
      ])
  }
  return text.join('')
}
