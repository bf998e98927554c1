import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { systemClock } from '../../src/base/clock.ts'
import { apiVolume } from '../../src/cli/api-volume.ts'
import { imageStateFile } from '../../src/recover/volume/image-state.ts'
import { VolumeIncomplete } from '../../src/recover/volume/receipt.ts'
import { restoreVolume } from '../../src/recover/volume/restore-volume.ts'
import { socketApiClient } from '../../src/wire/http-client.ts'
import { apiSocketOf, runningVault, VolumeReplay, volumeVault } from '../support/volume-vault.ts'

const never = new AbortController().signal
const changes = 600
const bytes = 2 * 1024 * 1024

test('what is damaged at the vault is named, all else comes back, and once it is healed only that is fetched', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-volume-damage-'))
  try {
    const story = await volumeVault(join(folder, 'vault'), { seed: 31, bytes, changes })
    const expected = new VolumeReplay(story).to(changes)
    const target = join(folder, 'disk.img')
    const restored = async (resume: boolean) => {
      // Each time a vault that has not read anything yet.
      await using _vault = await runningVault(story.directory)
      const client = socketApiClient(apiSocketOf(story.directory))
      const origin = await apiVolume(client, story.source, `seq:${changes}`)
      const request = { source: story.source, target, resume, delta: false, force: false }
      return await restoreVolume(request, { origin, clock: systemClock, tell: () => {} }, never)
    }
    {
      // The index is made before the damage is: the answer to a question waits for it.
      await using _vault = await runningVault(story.directory)
      await apiVolume(socketApiClient(apiSocketOf(story.directory)), story.source, `seq:${changes}`)
    }
    const journals = join(story.directory, 'journals')
    const [journal] = readdirSync(journals)
    assert.ok(journal !== undefined)
    const segment = readdirSync(join(journals, journal)).find((name) => name.endsWith('.segment'))
    assert.ok(segment !== undefined)
    const file = join(journals, journal, segment)
    const sound = readFileSync(file)
    const spoilt = Buffer.from(sound)
    const place = Math.floor(spoilt.length * 0.4)
    spoilt[place] = (spoilt[place] as number) ^ 1
    writeFileSync(file, spoilt)
    const failure = await restored(false).then(
      () => undefined,
      (error: unknown) => error,
    )
    assert.ok(failure instanceof VolumeIncomplete, String(failure))
    const { failures, failureCount } = failure.receipt
    assert.ok(failureCount > 0 && failures.length === failureCount)
    const found = readFileSync(target)
    for (const { at, bytes: lost } of failures) found.fill(0, at, at + lost)
    const rest = Buffer.from(expected)
    for (const { at, bytes: lost } of failures) rest.fill(0, at, at + lost)
    assert.ok(found.equals(rest), 'all else is there')
    assert.ok(existsSync(imageStateFile(target)))
    writeFileSync(file, sound)
    await restored(true)
    assert.ok(readFileSync(target).equals(expected))
    assert.ok(!existsSync(imageStateFile(target)))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
