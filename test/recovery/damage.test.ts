import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { globSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { systemClock } from '../../src/base/clock.ts'
import { command, differences, needsRsync, waitFor, World } from '../e2e/harness.ts'
import { Seeded } from '../sim/random.ts'

/**
 * Every kind of file of a vault. Of what cannot be made again, a flipped byte is told, by the name of the file; what is
 * derived, or can be told to the vault again, may be made good in silence. Nothing wrong is ever restored as right.
 */
const kinds: readonly { readonly files: string; readonly truth: boolean; readonly places?: readonly number[] }[] = [
  { files: 'journals/*/*.segment', truth: true, places: [0.01, 0.3, 0.6, 0.97] },
  { files: 'packs/*.pack', truth: true, places: [0.01, 0.5, 0.97] },
  { files: 'registry/vault.record', truth: true },
  { files: 'registry/sources/*.record', truth: true },
  { files: 'registry/agents/*.record', truth: true },
  { files: 'registry/tokens/*.record', truth: true },
  { files: 'vault.json', truth: true },
  { files: 'vault.key', truth: true },
  { files: 'derived/catalogue.sqlite', truth: false },
  { files: 'derived/[0-9a-f]*.sqlite', truth: false },
  { files: 'derived/[0-9a-f]*.sqlite-wal', truth: false },
  { files: 'authority/authority.pem', truth: false },
  { files: 'authority/server.pem', truth: false },
  { files: 'settings.json', truth: false },
]

test('a flipped byte is never restored as right', { skip: needsRsync, timeout: 900_000 }, async (t) => {
  const { world, directory, at } = await aVaultAtRest(t)
  const pristine = join(world.folder, 'pristine')
  renameSync(world.vaultFolder, pristine)
  for (const { files, truth, places = [0.5] } of kinds) {
    for (const place of places) {
      await t.test(`${files} at ${place * 100} %`, async () => {
        execFileSync('cp', ['-a', pristine, world.vaultFolder])
        try {
          const flipped = flip(world.vaultFolder, files, place)
          const told = await useVault(world, directory, at)
          if (truth) assert.ok(told.includes(basename(flipped)), `${flipped} was not named in:\n${told}`)
        } finally {
          await world.vault.kill()
          rmSync(world.vaultFolder, { recursive: true })
        }
      })
    }
  }
})

/** All its content is needed at `at`, and it was killed, so that nothing of it is sealed. */
async function aVaultAtRest(t: Parameters<typeof World.begin>[0]) {
  const world = await World.begin(t)
  const agent = await world.join('server')
  await agent.process.start()
  const directory = world.directory('tree')
  const random = new Seeded(5)
  const write = (file: number) => writeFileSync(join(directory, `${file}`), random.bytes(1000 + 9000 * file))
  for (let file = 0; file < 30; file++) write(file)
  await world.atAgent(agent, 'protect', 'files', directory, '--name', 'tree')
  await world.quietMoment('tree')
  for (let file = 30; file < 45; file++) {
    write(file)
    await systemClock.sleep(20)
  }
  const at = await world.quietMoment('tree')
  // Of the last moments before a crash a torn tail and damage look alike.
  await waitFor(
    'the vault has noted how far its files are durable',
    async () => unnoted(world.vaultFolder),
    (names) => names.length === 0,
  )
  await agent.process.kill()
  await world.vault.kill()
  return { world, directory, at }
}

function unnoted(vault: string): string[] {
  using catalogue = new DatabaseSync(join(vault, 'derived/catalogue.sqlite'), { readOnly: true })
  const noted = catalogue.prepare('SELECT bytes FROM synced WHERE name = ?')
  return globSync(['journals/*/*.segment', 'packs/*.pack'], { cwd: vault }).filter(
    (name) => noted.get(name)?.['bytes'] !== statSync(join(vault, name)).size,
  )
}

function flip(vault: string, files: string, place: number): string {
  const size = (file: string): number => statSync(join(vault, file)).size
  const [largest] = globSync(files, { cwd: vault }).sort((a, b) => size(b) - size(a))
  assert.ok(largest !== undefined, `no ${files}`)
  const bytes = readFileSync(join(vault, largest))
  bytes[Math.floor(bytes.length * place)]! ^= 0x10
  writeFileSync(join(vault, largest), bytes)
  return largest
}

/** Starts the vault, verifies and restores. Returns all that was said; what is restored without an error is right. */
async function useVault(world: World, directory: string, at: string): Promise<string> {
  rmSync(world.vault.log, { force: true })
  try {
    await world.vault.start()
  } catch (error) {
    return String(error)
  }
  const to = join(world.folder, 'from-flipped')
  try {
    const verified = await command(['--vault', world.vaultFolder, 'verify', 'tree', '--at', at])
    const restored = await command(['--vault', world.vaultFolder, 'restore', 'tree', '--at', at, '--to', to])
    const told = readFileSync(world.vault.log, 'utf8') + verified.out + verified.err + restored.out + restored.err
    if (restored.status === 0) assert.equal(differences(directory, join(to, directory)), '', `not told:\n${told}`)
    else assert.match(restored.err, /tidemark: /)
    return told
  } finally {
    rmSync(to, { recursive: true, force: true })
  }
}
