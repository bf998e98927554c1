import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { apiPath } from '../../src/api/client.ts'
import { systemClock } from '../../src/base/clock.ts'
import { isoMoment, moment } from '../../src/model/moment.ts'
import { NbdClient } from '../../src/nbd/client.ts'
import { socketApiClient } from '../../src/wire/http-client.ts'
import { isRoot, World } from '../e2e/harness.ts'
import { lacking } from '../run/programs.ts'
import { Seeded } from '../sim/random.ts'
import { until } from '../support/until.ts'
import { keptGroup, VolumeServerProcess } from '../support/volume-server-process.ts'

const bytes = 4 * 1024 * 1024
const skip =
  (!isRoot && 'loop devices need root') ||
  lacking('losetup') ||
  (!existsSync('/dev/loop-control') && 'needs loop devices')

const losetup = (...args: readonly string[]): string => execFileSync('losetup', args, { encoding: 'utf8' }).trim()

/** Of a number that nobody is given who asks for any: it is free for a while, and a volume all the same. It is gone with the test. */
function loopOf(t: TestContext, file: string): string {
  const device = `/dev/loop${200 + (process.pid % 10_000)}`
  losetup(device, file)
  t.after(() => {
    if (isAttached(device)) losetup('-d', device)
  })
  return device
}

const isAttached = (device: string): boolean => losetup('-a').includes(`${device}:`)

async function use(socket: string, act: (client: NbdClient) => Promise<void>): Promise<void> {
  const request = { at: { path: socket }, exportName: 'disk' }
  await using client = await NbdClient.connect(request, new AbortController().signal)
  await act(client)
}

test(
  'a loop device that is detached while it is a volume: it is served until its server ends, then nothing is claimed, and it goes on once it is back',
  { skip, timeout: 600_000 },
  async (t) => {
    const world = await World.begin(t)
    const random = new Seeded(20_261_127)
    const model = Buffer.from(random.bytes(bytes))
    const file = join(world.folder, 'disk.img')
    writeFileSync(file, model)
    const device = loopOf(t, file)
    const agent = await world.join('server')
    await agent.process.start(keptGroup)
    await world.atAgent(agent, 'protect', 'volume', device, '--name', 'disk')
    const server = await VolumeServerProcess.of(world, agent, 'disk')
    await world.until('disk', 'protected', ({ state }) => state === 'protected')
    const write = async (client: NbdClient): Promise<void> => {
      const data = Buffer.from(random.bytes(64 * 1024))
      const at = 512 * random.integer(0, (bytes - data.length) / 512)
      await client.write(at, data)
      await client.flush()
      model.set(data, at)
    }

    losetup('-d', device)
    await use(server.folder.nbd, async (client) => {
      for (let count = 0; count < 10; count++) await write(client)
      assert.ok((await client.read(0, bytes)).equals(model), 'the device is there as long as it is in use')
    })

    await server.kill()
    const gone = isoMoment(moment(systemClock.now()))
    await until('the device is gone', () => !isAttached(device))
    const told = await world.until('disk', 'a problem', ({ problems }) => JSON.stringify(problems).includes(device))
    assert.equal(told.state, 'vanished')
    assert.ok(told.covered !== null && told.covered < gone, `${told.covered} is before ${gone}`)
    assert.match(JSON.stringify(told.problems), /"damaged".*has 0 bytes/)

    losetup(device, file)
    await until('it is served again', async () => {
      try {
        await use(server.folder.nbd, async (client) => assert.ok((await client.read(0, bytes)).equals(model)))
        return true
      } catch (error) {
        if (error instanceof assert.AssertionError) throw error
        return false
      }
    })
    await use(server.folder.nbd, write)
    const at = await world.quietMoment('disk')
    const client = socketApiClient(join(world.vaultFolder, 'api.sock'))
    const pieces = await client.stream('GET', apiPath('/v1/sources/disk/content', { at, path: 'disk' }))
    assert.ok(Buffer.concat(await Array.fromAsync(pieces)).equals(model), 'the vault has what was flushed')
  },
)
