import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { SourceStatus } from '../../src/api/schemas.ts'
import { systemClock } from '../../src/base/clock.ts'
import { needsRoot, needsRsync, waitFor, World } from '../e2e/harness.ts'
import { RecordedMoments } from '../e2e/recorded.ts'

const ballastBytes = 24 * 1024 * 1024

test(
  'a vault whose file system is full says so, acknowledges nothing, and goes on by itself',
  { skip: needsRoot || needsRsync, timeout: 900_000 },
  async (t) => {
    const mounted = mkdtempSync(join(tmpdir(), 'tidemark-full-'))
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=48m', 'tidemark-test', mounted])
    const vaultFolder = join(mounted, 'vault')
    mkdirSync(vaultFolder)
    const ballast = join(mounted, 'ballast')
    writeFileSync(ballast, Buffer.alloc(ballastBytes))
    const world = await World.begin(t, vaultFolder)
    t.after(() => {
      execFileSync('umount', [mounted])
      rmSync(mounted, { recursive: true })
    })
    const agent = await world.join('server')
    await agent.process.start()
    const directory = world.directory('tree')
    writeFileSync(join(directory, 'first'), 'the first file')
    await world.atAgent(agent, 'protect', 'files', directory, '--name', 'tree')
    const recorded = new RecordedMoments(world, 'tree', directory)
    await recorded.record()

    for (let file = 0; file < 30; file++) writeFileSync(join(directory, `${file}`), randomBytes(1024 * 1024))
    await waitFor(
      'the vault to be full',
      () => world.glance(),
      (status) => status?.stalled === true,
    )
    // What was durable before is acknowledged still; then nothing is.
    const looks = async (): Promise<(SourceStatus | undefined)[]> => {
      const before = await world.source('tree')
      await systemClock.sleep(1500)
      return [before, await world.source('tree')]
    }
    const [, stalled] = await waitFor(
      'nothing to be acknowledged',
      looks,
      (both) => both.every((look) => look?.state === 'stalled') && both[0]?.sequence === both[1]?.sequence,
    )
    assert.ok(
      stalled?.problems.some(({ code }) => code === 'vault-full'),
      JSON.stringify(stalled?.problems),
    )
    await recorded.check(0)

    rmSync(ballast)
    await recorded.record()
    const [, full] = await looks()
    assert.ok((full?.sequence ?? 0) > (stalled?.sequence ?? 0), 'not all was acknowledged without room')
    await recorded.checkAll()
  },
)
