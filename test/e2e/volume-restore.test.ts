import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { NbdClient } from '../../src/nbd/client.ts'
import { Seeded } from '../sim/random.ts'
import { apiSocketOf, VolumeReplay, type VolumeStory, type VolumeVault, volumeVault } from '../support/volume-vault.ts'
import { lacking } from '../run/programs.ts'
import { command, type Finished, needsRoot, Process, waitFor } from './harness.ts'

const never = new AbortController().signal
const MiB = 1024 * 1024
const blockBytes = 4096

interface World {
  readonly folder: string
  readonly story: VolumeVault
  run(...args: string[]): Promise<Finished>
  process(args: readonly string[], ready: RegExp): Process
}

/** A vault that runs, with the journal of a volume, and the command line beside it. */
async function begin(t: TestContext, told: VolumeStory): Promise<World> {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-e2e-volume-'))
  const processes: Process[] = []
  t.after(async () => {
    await Promise.all(processes.map((one) => one.kill()))
    rmSync(folder, { recursive: true, force: true })
  })
  const directory = join(folder, 'vault')
  const story = await volumeVault(directory, told)
  const process = (args: readonly string[], ready: RegExp): Process => {
    const made = new Process(args, ready, join(folder, `${processes.length}.log`))
    processes.push(made)
    return made
  }
  await process(['vault', 'run', '--dir', directory, '--listen', '127.0.0.1:0'], /listens on/).start()
  return { folder, story, process, run: (...args) => command(args, { TIDEMARK_SOCKET: apiSocketOf(directory) }) }
}

test('a volume comes back as an image, onto one that differs, and never over what is there', async (t) => {
  const { folder, story, run } = await begin(t, { seed: 21, bytes: 16 * MiB, changes: 600 })
  const at = 400
  const expected = new VolumeReplay(story).to(at)
  const image = join(folder, 'disk.img')
  const restore = (...more: string[]): Promise<Finished> =>
    run('restore', story.source, '--at', `seq:${at}`, '--to', image, ...more)

  const rehearsed = await restore('--dry-run')
  assert.equal(rehearsed.status, 0, rehearsed.err)
  assert.match(rehearsed.out, /would restore disk-1 .* 16\.0 MiB/)
  assert.ok(!existsSync(image))

  const done = await restore('--json')
  assert.equal(done.status, 0, done.err)
  assert.ok(readFileSync(image).equals(expected))
  assert.ok(statSync(image).blocks * 512 < 16 * MiB, 'zeros are left out')
  assert.ok(!existsSync(`${image}.tidemark-restore`))
  const last = JSON.parse(done.out.trim().split('\n').at(-1) ?? '') as { receipt: { at: number; bytes: number } }
  assert.deepEqual([last.receipt.at, last.receipt.bytes], [at, 16 * MiB])

  const refused = await restore()
  assert.equal(refused.status, 1)
  assert.match(refused.err, /holds something already/)

  const spoilt = Buffer.from(expected)
  spoilt.fill(7, 5 * MiB, 5 * MiB + 10)
  writeFileSync(image, spoilt)
  const delta = await restore('--delta', '--json')
  assert.equal(delta.status, 0, delta.err)
  assert.ok(readFileSync(image).equals(expected))
  const { receipt } = JSON.parse(delta.out.trim().split('\n').at(-1) ?? '') as { receipt: { writtenBytes: number } }
  assert.equal(receipt.writtenBytes, blockBytes, 'only what differs is written')

  writeFileSync(image, 'of another size, and something else')
  assert.equal((await restore('--force')).status, 0)
  assert.ok(readFileSync(image).equals(expected))
})

test('whoever restores or opens a volume where it is suspect is told so', async (t) => {
  const { folder, story, run, process } = await begin(t, {
    seed: 25,
    bytes: MiB,
    changes: 60,
    suspect: { from: 30, to: 40 },
  })
  const image = join(folder, 'disk.img')
  const restore = (at: number, ...more: string[]): Promise<Finished> =>
    run('restore', story.source, '--at', `seq:${at}`, '--to', image, '--force', ...more)
  for (const [at, isSuspect] of [
    [29, false],
    [35, true],
    [40, false],
  ] as const) {
    assert.equal(/suspect there \(spool-full\)/.test((await restore(at, '--dry-run')).out), isSuspect, `${at}`)
    assert.equal(/suspect there \(spool-full\)/.test((await restore(at)).out), isSuspect, `${at}`)
    const told = (await restore(at, '--json')).out.trim().split('\n').at(-1) ?? ''
    const { receipt } = JSON.parse(told) as { receipt: { suspect?: string } }
    assert.equal(receipt.suspect, isSuspect ? 'spool-full' : undefined)
  }
  const open = process(['open', story.source, '--at', 'seq:35'], /suspect there \(spool-full\)[^]*It is served until/)
  await open.start({ TIDEMARK_SOCKET: apiSocketOf(join(folder, 'vault')) })
})

test('a restore that is killed goes on where it was durable', async (t) => {
  const { folder, story, process } = await begin(t, { seed: 22, bytes: 448 * MiB, changes: 700 })
  const image = join(folder, 'disk.img')
  const state = `${image}.tidemark-restore`
  // Lets a few requests for content through, and then none.
  const way = await holdingWay(t, apiSocketOf(story.directory), join(folder, 'way.sock'), 5)
  const args = ['restore', story.source, '--at', 'seq:650', '--to', image]
  const restoring = process([...args, '--json'], /progress/)
  await restoring.start({ TIDEMARK_SOCKET: way.socket })
  await waitFor(
    'regions that are durable',
    async () => (existsSync(state) ? (JSON.parse(readFileSync(state, 'utf8')) as { done: string }).done : ''),
    (done) => Buffer.from(done, 'base64').some((bits) => bits > 0),
  )
  await restoring.kill()
  const environment = { TIDEMARK_SOCKET: apiSocketOf(story.directory) }
  const other = await command(args, environment)
  assert.equal(other.status, 1)
  assert.match(other.err, /unfinished restore/)
  const again = await holdingWay(t, apiSocketOf(story.directory), join(folder, 'again.sock'), Infinity)
  const resumed = await command([...args, '--resume'], { TIDEMARK_SOCKET: again.socket })
  assert.equal(resumed.status, 0, resumed.err)
  assert.ok(again.contents() < 7, 'what was durable is not fetched again')
  assert.ok(readFileSync(image).equals(new VolumeReplay(story).to(650)))
  assert.ok(!existsSync(state))

  // What was restored before is gone: nothing of it may be taken as done.
  await restoringUntilKept(process, args, state, t, story, folder)
  truncateSync(image, 0)
  const anew = await command([...args, '--resume'], environment)
  assert.equal(anew.status, 0, anew.err)
  assert.ok(readFileSync(image).equals(new VolumeReplay(story).to(650)))
})

async function restoringUntilKept(
  process: World['process'],
  args: readonly string[],
  state: string,
  t: TestContext,
  story: VolumeVault,
  folder: string,
): Promise<void> {
  const way = await holdingWay(t, apiSocketOf(story.directory), join(folder, 'third.sock'), 5)
  const restoring = process([...args, '--json', '--force'], /progress/)
  await restoring.start({ TIDEMARK_SOCKET: way.socket })
  await waitFor(
    'regions that are durable',
    async () => (existsSync(state) ? (JSON.parse(readFileSync(state, 'utf8')) as { done: string }).done : ''),
    (done) => Buffer.from(done, 'base64').some((bits) => bits > 0),
  )
  await restoring.kill()
}

test('a moment is opened, written over, killed, and opened again with what was flushed', async (t) => {
  const { folder, story, process, run } = await begin(t, { seed: 23, bytes: 4 * MiB, changes: 500 })
  const at = 450
  const before = Buffer.from(new VolumeReplay(story).to(at))
  const overlay = join(folder, 'trial.overlay')
  const socket = join(folder, 'trial.sock')
  const environment = { TIDEMARK_SOCKET: apiSocketOf(story.directory) }
  const args = ['open', story.source, '--writable', '--overlay', overlay, '--socket', socket]
  const open = process([...args, '--at', `seq:${at}`], /It is served until/)
  await open.start(environment)
  const random = new Seeded(9)
  const flushed = Buffer.from(before)
  const write = async (nbd: NbdClient, disk: Buffer): Promise<void> => {
    const from = random.integer(0, disk.length / 512 - 64) * 512
    const data = Buffer.from(random.bytes(random.integer(1, 64) * 512))
    await nbd.write(from, data)
    data.copy(disk, from)
  }
  const nbd = await NbdClient.connect({ at: { path: socket } }, never)
  for (let count = 0; count < 100; count++) await write(nbd, flushed)
  await nbd.flush()
  const later = Buffer.from(flushed)
  for (let count = 0; count < 30; count++) await write(nbd, later)
  await open.kill()

  const again = process(args, /It is served until/)
  await again.start(environment)
  const reopened = await NbdClient.connect({ at: { path: socket } }, never)
  const found = await reopened.read(0, before.length)
  for (let block = 0; block < found.length; block += 512) {
    const here = found.subarray(block, block + 512)
    const isFlushed = here.equals(flushed.subarray(block, block + 512))
    assert.ok(isFlushed || here.equals(later.subarray(block, block + 512)), `the sector at ${block}`)
  }
  await reopened[Symbol.asyncDispose]()
  await again.stop()
  assert.equal(await again.ended(), 0)
  assert.ok(!existsSync(socket))
  const image = join(folder, 'disk.img')
  assert.equal((await run('restore', story.source, '--at', `seq:${at}`, '--to', image)).status, 0)
  assert.ok(readFileSync(image).equals(before), 'the moment is as it was')
})

test(
  'a volume comes back onto a block device that is large enough and free',
  { skip: needsRoot || lacking('losetup', 'mkfs.ext4') || (!existsSync('/dev/loop-control') && 'needs loop devices') },
  async (t) => {
    const { folder, story, run } = await begin(t, { seed: 24, bytes: 8 * MiB, changes: 300 })
    const expected = new VolumeReplay(story).to(300)
    const device = (bytes: number): string => {
      const file = join(folder, `device-${bytes}`)
      writeFileSync(file, '')
      truncateSync(file, bytes)
      const name = execFileSync('losetup', ['-f', '--show', file], { encoding: 'utf8' }).trim()
      t.after(() => execFileSync('losetup', ['-d', name]))
      return name
    }
    const restore = (to: string, ...more: string[]): Promise<Finished> =>
      run('restore', story.source, '--at', 'seq:300', '--to', to, ...more)
    const small = await restore(device(4 * MiB))
    assert.equal(small.status, 1)
    assert.match(small.err, /no-space|only 4194304/)
    const large = device(12 * MiB)
    const behind = await restore(join(folder, `device-${12 * MiB}`), '--force')
    assert.equal(behind.status, 1)
    assert.match(behind.err, /is the file behind/)
    for (const [place, length] of [
      [2 * MiB, MiB],
      [12 * MiB - 512, 512],
    ] as const) {
      const held = openSync(large, 'r+')
      writeSync(held, Buffer.alloc(length, 7), 0, length, place)
      fsyncSync(held)
      assert.match((await restore(large)).err, /holds something already/, `something at ${place}`)
      writeSync(held, Buffer.alloc(length), 0, length, place)
      closeSync(held)
    }
    execFileSync('mkfs.ext4', ['-q', large])
    const mounted = join(folder, 'mounted')
    mkdirSync(mounted)
    execFileSync('mount', [large, mounted])
    const taken = await restore(large, '--force')
    execFileSync('umount', [mounted])
    assert.equal(taken.status, 1)
    assert.match(taken.err, /is mounted/)
    const full = await restore(large)
    assert.match(full.err, /holds something already/)
    const done = await restore(large, '--force')
    assert.equal(done.status, 0, done.err)
    assert.ok(
      readFileSync(large)
        .subarray(0, 8 * MiB)
        .equals(expected),
      'zeros over what was there, too',
    )
    const delta = await restore(large, '--delta')
    assert.equal(delta.status, 0, delta.err)
    assert.ok(
      readFileSync(large)
        .subarray(0, 8 * MiB)
        .equals(expected),
    )
  },
)

/** A socket in front of the vault's that lets so many requests for content through, and keeps further ones waiting. */
async function holdingWay(
  t: TestContext,
  to: string,
  socket: string,
  contentsMax: number,
): Promise<{ readonly socket: string; contents(): number }> {
  let contents = 0
  const server = createServer((from) => {
    from.on('error', () => from.destroy())
    from.once('data', (head: Buffer) => {
      if (head.includes('/stretches') && ++contents > contentsMax) return
      const through = connect(to)
      through.on('error', () => from.destroy())
      from.on('close', () => through.destroy())
      through.write(head)
      from.pipe(through).pipe(from)
    })
  }).listen(socket)
  await once(server, 'listening')
  t.after(() => server.close())
  return { socket, contents: () => contents }
}
