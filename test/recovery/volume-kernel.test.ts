import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { apiPath } from '../../src/api/client.ts'
import { deviceOwner } from '../../src/capture/volume/volume-folder.ts'
import type { Id } from '../../src/model/source.ts'
import { socketApiClient } from '../../src/wire/http-client.ts'
import { type Agent, World } from '../e2e/harness.ts'
import { lacking, lackingUnpacked, unpackedFile } from '../run/programs.ts'
import { until } from '../support/until.ts'
import {
  hostAddress,
  lackingVirtualMachine,
  portOf,
  VirtualMachine,
  type WrittenFile,
} from '../support/virtual-machine.ts'
import { ended } from '../support/volume-device.ts'
import type { MirrorLeg } from '../../src/nbd/mirror-leg.ts'
import { keptGroup, VolumeServerProcess } from '../support/volume-server-process.ts'

/**
 * The client of Linux's own kernel, and its mirrors, in a virtual machine: vault, agent and volume server are on this side and
 * are killed; the machine tells which files were durable, and these are looked for in what the vault has.
 */
const bytes = 48 * 1024 * 1024
const grownBytes = 64 * 1024 * 1024
const device = '/dev/nbd0'
const mirror = '/dev/md0'
const localDisk = '/dev/vda'
const mdadm = unpackedFile('mdadm', 'sbin/mdadm')
const mounted = '/mnt/volume'
const files = join(mounted, 'files')

const skip =
  lackingVirtualMachine() || lacking('mkfs.ext4', 'resize2fs', 'e2fsck', 'debugfs') || lackingUnpacked('mdadm')

/** What has to be there at a point of the volume: no less, since all of it was durable before. */
interface Expected {
  readonly at: string
  readonly written: readonly WrittenFile[]
}

interface Scene {
  readonly world: World
  readonly agent: Agent
  readonly server: VolumeServerProcess
  readonly machine: VirtualMachine
  readonly id: Id
}

test(
  'a disk of the kernel waits for the next volume server, a mirror goes on without and catches up, and the vault has what was durable',
  { skip, timeout: 1_200_000 },
  async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'tidemark-kernel-'))
    t.after(() => rmSync(folder, { recursive: true, force: true }))
    const local = join(folder, 'local.img')
    writeFileSync(local, '')
    truncateSync(local, bytes)
    // It starts while the rest does.
    await using machine = await VirtualMachine.start(join(folder, 'machine'), [local])
    const scene = await protect(t, machine)
    const expected = [...(await useDevice(scene)), ...(await useMirror(scene))]
    for (const point of expected) await assertAtVault(scene, point, folder)
    t.diagnostic(expected.map(({ at, written }) => `${written.length} files at ${at}`).join(', '))
  },
)

/** The volume alone is the disk: while its server is away, whoever writes waits. */
async function useDevice(scene: Scene): Promise<Expected[]> {
  const { machine, agent } = scene
  const attached = await machine.tidemark('--agent', agent.folder, 'volume', 'attach', 'disk', device)
  assert.equal(attached, `disk is ${device}\n`)
  await makeFileSystem(machine, device)
  const first = machine.written.length
  await writesWhile(machine, () => machine.writes(20))
  const before = await remember(scene, first)
  await writesWhile(machine, async () => {
    await machine.writes(5)
    await endServer(scene)
    await serveAgain(scene)
    await machine.writes(10)
    await growDisk(scene)
    await machine.run('resize2fs', device)
    await machine.writes(10)
  })
  const after = await remember(scene, first)
  await assertThere(machine, after.written)
  const detach = ['--agent', agent.folder, 'volume', 'detach', 'disk', device]
  const refused = await machine.ask({ kind: 'tidemark', args: detach })
  assert.match(refused.output, /"in-use"/, 'a disk that is mounted is not taken away')
  await machine.run('umount', mounted)
  assert.equal(await machine.tidemark(...detach), `${device} is free\n`)
  return [before, after]
}

/** While it is written to. */
async function growDisk({ world, server, machine, id }: Scene): Promise<void> {
  truncateSync(join(world.folder, 'disk.img'), grownBytes)
  const said = join(server.folder.directory, 'server.log')
  await until('it has grown', () => readFileSync(said, 'utf8').includes(` to ${grownBytes} bytes`))
  assert.equal(await machine.expect({ kind: 'enlarge', owner: deviceOwner(id), bytes: grownBytes }), device)
  assert.equal(512 * Number(await machine.run('cat', '/sys/block/nbd0/size')), grownBytes)
}

/** The volume is the second leg of a mirror: whoever writes goes on without it, and it is given afterwards what it lacks. */
async function useMirror(scene: Scene): Promise<Expected[]> {
  const { machine, agent, world } = scene
  await machine.tidemark('--agent', agent.folder, 'volume', 'attach', 'disk', device, '--mirror')
  const shape = ['--level=1', '--raid-devices=2', '--bitmap=internal', '--bitmap-chunk=1M', '--metadata=1.0', '--run']
  await machine.run(mdadm, '--create', mirror, ...shape, localDisk, '--write-mostly', device)
  await inSync(machine)
  const { membership, ...leg } = await lookAtLeg(scene)
  assert.deepEqual(leg, { state: 'in-sync', mirror: 'md0' })
  await makeFileSystem(machine, mirror)
  const first = machine.written.length
  await writesWhile(machine, () => machine.writes(10))
  const before = await remember(scene, first)
  const sent = await bytesSent(machine)
  await writesWhile(machine, async () => {
    await endServer(scene)
    await untilThere(machine, String.raw`grep 'nbd0\[.*(F)' /proc/mdstat`)
    assert.equal((await lookAtLeg(scene)).state, 'away')
    await machine.writes(10)
    await serveAgain(scene)
    // The mirror may not have let go of it yet.
    await untilThere(machine, `${mdadm} ${mirror} --remove ${device}`)
    assert.equal((await lookAtLeg(scene)).state, 'away', 'also when the mirror has let go of it')
    await untilThere(machine, `${mdadm} ${mirror} --re-add ${device}`)
    await inSync(machine)
    const again = await lookAtLeg(scene)
    assert.equal(again.state, 'in-sync')
    assert.notEqual(again.membership, membership, 'it was away in between')
    assert.ok((await bytesSent(machine)) - sent < bytes / 2, 'what the leg lacks is copied, and no more')
    await machine.writes(5)
  })
  await world.atAgent(agent, 'mark', 'disk', 'in-sync')
  const after = { at: 'mark:in-sync', written: machine.written.slice(first) }
  await world.quietMoment('disk')
  await assertThere(machine, after.written)
  await machine.run('umount', mounted)
  await machine.run(mdadm, '--stop', mirror)
  await machine.tidemark('--agent', agent.folder, 'volume', 'detach', 'disk', device)
  return [before, after]
}

async function protect(t: TestContext, machine: VirtualMachine): Promise<Scene> {
  const world = await World.begin(t)
  const agent = await world.join('server')
  const backing = join(world.folder, 'disk.img')
  writeFileSync(backing, '')
  truncateSync(backing, bytes)
  await agent.process.start(keptGroup)
  await world.atAgent(agent, 'protect', 'volume', backing, '--name', 'disk')
  const server = await VolumeServerProcess.of(world, agent, 'disk')
  const { id } = await world.until('disk', 'protected', ({ state }) => state === 'protected')
  await machine.ready()
  await machine.run('mount', '-t', 'tmpfs', 'none', agent.folder)
  await machine.run('mkdir', '-p', dirname(server.folder.nbd))
  for (const path of [server.folder.nbd, join(agent.folder, 'api.sock')]) {
    const port = await portOf(path)
    world.atEnd(async () => await port[Symbol.asyncDispose]())
    await machine.run(
      'sh',
      '-c',
      `socat -b 131072 UNIX-LISTEN:${path},fork TCP:${hostAddress}:${port.port} >/dev/null 2>&1 &`,
    )
    await untilThere(machine, `test -S ${path}`)
  }
  return { world, agent, server, machine, id: id as Id }
}

/** Only what is written from now on is on it. */
async function makeFileSystem(machine: VirtualMachine, on: string): Promise<void> {
  await machine.run('mkfs.ext4', '-q', '-F', on)
  await machine.run('mkdir', '-p', mounted)
  await machine.run('mount', on, mounted)
}

async function writesWhile(machine: VirtualMachine, act: () => Promise<unknown>): Promise<void> {
  await machine.expect({ kind: 'write', folder: files })
  await act()
  await machine.expect({ kind: 'stop-writing' })
}

/** While nothing is written. */
async function remember({ world, machine }: Scene, first: number): Promise<Expected> {
  return { at: await world.quietMoment('disk'), written: machine.written.slice(first) }
}

/** Killed, and nobody starts another one. */
async function endServer({ agent, server }: Scene): Promise<void> {
  await agent.process.kill()
  await server.kill()
}

/** The next server does for the devices of the guest what it does by itself for those of its own machine. */
async function serveAgain({ agent, server, machine, id }: Scene): Promise<void> {
  const { pid } = server
  await agent.process.start(keptGroup)
  await until('another process serves it', () => server.pid !== pid)
  const path = server.folder.nbd
  const taken = await machine.expect({ kind: 'take-back', path, exportName: 'disk', owner: deviceOwner(id) })
  assert.equal(taken, device)
}

/** As the agent would, were it in the machine. */
async function lookAtLeg({ machine, id }: Scene): Promise<MirrorLeg> {
  return JSON.parse(await machine.expect({ kind: 'look-at-leg', owner: deviceOwner(id) }))
}

const inSync = (machine: VirtualMachine): Promise<void> => untilThere(machine, String.raw`grep '\[UU\]' /proc/mdstat`)

/** Asked in the machine, where each question costs much. */
async function untilThere(machine: VirtualMachine, condition: string): Promise<void> {
  await machine.run('sh', '-c', `until ${condition} > /dev/null; do sleep 0.3; done`)
}

/** To the volume, since it was attached. */
async function bytesSent(machine: VirtualMachine): Promise<number> {
  const told = await machine.run('cat', '/sys/block/nbd0/stat')
  return 512 * Number(told.trim().split(/\s+/)[6])
}

/** Read from the disk, and not from what the guest remembers. */
async function assertThere(machine: VirtualMachine, written: readonly WrittenFile[]): Promise<void> {
  await machine.run('sh', '-c', 'echo 3 > /proc/sys/vm/drop_caches')
  const told = await machine.run('sh', '-c', `cd ${files} && sha256sum *`)
  const lines = told.trim().split('\n')
  const hashes = new Map(lines.map((line) => line.split('  ').reverse() as [string, string]))
  for (const { name, hash } of written) assert.equal(hashes.get(name), hash, name)
}

/** The image is a disk after a power cut: its file system is repaired by its own journal, and has every file. */
async function assertAtVault({ world }: Scene, { at, written }: Expected, folder: string): Promise<void> {
  const client = socketApiClient(join(world.vaultFolder, 'api.sock'))
  const image = join(folder, 'image')
  const content = await client.stream('GET', apiPath('/v1/sources/disk/content', { at, path: 'disk' }))
  await writeFile(image, content)
  const replayed = await ended('e2fsck', ['-y', image])
  assert.ok(Number(replayed.status) <= 1, `at ${at}: ${replayed.output}`)
  const checked = await ended('e2fsck', ['-f', '-n', image])
  assert.equal(checked.status, 0, `at ${at}: ${checked.output}`)
  const found = join(folder, 'found')
  mkdirSync(found)
  await ended('debugfs', ['-R', `rdump /files ${found}`, image])
  const there = new Set(readdirSync(join(found, 'files')))
  for (const { name, hash } of written) {
    assert.ok(there.has(name), `at ${at} there is ${name}`)
    assert.equal(hashOf(join(found, 'files', name)), hash, `at ${at}, ${name}`)
  }
  rmSync(found, { recursive: true })
}

const hashOf = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex')
