import assert from 'node:assert/strict'
import { createSecretKey } from 'node:crypto'
import { test } from 'node:test'
import { Seeded } from '../../test/sim/random.ts'
import { appendFile, memoryVault, scratchCatalogue } from '../../test/support/memory-vault.ts'
import {
  addAgentWithSource,
  batchOf,
  blockOf,
  collect,
  openTestVault,
  putFile,
  start,
  write,
} from '../../test/support/vault-world.ts'
import { systemClock } from '../base/clock.ts'
import { type ErrorCode, isCode, TidemarkError } from '../base/errors.ts'
import { systemRandom } from '../base/random.ts'
import { moment } from '../model/moment.ts'
import { beforeFirst, sequence } from '../model/sequence.ts'
import type { Id } from '../model/source.ts'
import { MemoryDisk } from '../store/memory.ts'
import { openSealed } from '../store/sealed-reader.ts'
import type { StoreName } from '../store/store.ts'
import type { Vault } from './vault.ts'

const forever = new AbortController().signal
const limits = { segmentBytes: 2000, packBytes: 9000 }

/** A vault with some of everything: segments, packs, a checkpoint with history dropped before it, a registry. */
async function filled(cataloguePath = ':memory:') {
  const random = new Seeded(1)
  const disk = new MemoryDisk({ random })
  const { parts, vault, agent, source } = await memoryVault(disk, { random: systemRandom, limits, cataloguePath })
  await vault.registry.setSecret('ca', Buffer.from('secret'))
  await using appender = await vault.appender(agent, source, forever)
  for (let at = 1; at < 30; at += 2) {
    const contents = [random.bytes(700), Buffer.alloc(900, at)]
    await appendFile({ vault, appender }, at, `f${at}`, contents, write('log', at, random.bytes(300)))
  }
  const { chunks } = blockOf(vault, Buffer.alloc(900, 1))
  const at = sequence(14)
  await vault.journal(source).writeCheckpoint(at, moment(start + 13), [putFile('f', chunks)])
  await vault.journal(source).dropBefore(at)
  return { disk, parts, vault, agent, source }
}

/** Everything that a vault gives out, or the errors it gives instead. */
async function everything(
  open: () => Promise<Vault>,
  source: Id,
): Promise<{ told: unknown[]; errors: TidemarkError[] }> {
  const told: unknown[] = []
  const errors: TidemarkError[] = []
  const attempt = async (work: () => Promise<unknown>): Promise<void> => {
    try {
      told.push(await work())
    } catch (error) {
      if (!(error instanceof TidemarkError)) throw error
      errors.push(error)
    }
  }
  await attempt(async () => {
    await using vault = await open()
    errors.push(...vault.damage)
    const journal = vault.journal(source)
    told.push(vault.registry.agents, vault.registry.sources, vault.id, vault.name, journal.end)
    await attempt(() => vault.registry.secret('ca').then(String))
    await attempt(async () => {
      const checkpoint = await journal.checkpoint()
      return checkpoint && [checkpoint.at, checkpoint.moment, await collect(checkpoint.changes)]
    })
    await attempt(() => collect(journal.batches(sequence(14))))
    for (let at = 1; at < 30; at += 2) {
      const [, chunk] = blockOf(vault, Buffer.of(0), Buffer.alloc(900, at)).chunks
      await attempt(() => vault.chunks.read(chunk!.id))
    }
  })
  return { told, errors }
}

test('a flipped bit anywhere in a vault at rest is named, or changes nothing', async () => {
  const { disk, parts, vault, source } = await filled()
  await vault[Symbol.asyncDispose]()
  const open = () => openTestVault(parts())
  const sound = await everything(open, source)
  assert.deepEqual(sound.errors, [])
  const allowed: ErrorCode[] = ['damaged', 'key-refused', 'unsupported-format', 'not-found']
  const random = new Seeded(2)
  let named = 0
  for (const name of disk.names) {
    const bytes = disk.contents(name)
    for (const at of offsets(bytes.length, random)) {
      const flipped = Buffer.from(bytes)
      flipped[at]! ^= 1 << random.integer(0, 7)
      disk.overwrite(name, flipped)
      const { told, errors } = await everything(open, source)
      for (const error of errors)
        assert.ok(allowed.includes(error.code), `${name} ${at}: ${error.code} ${error.message}`)
      if (errors.length === 0) assert.deepEqual(told, sound.told, `${name} at ${at} is silently wrong`)
      else named++
      restore(disk, name, bytes)
    }
  }
  assert.ok(named > 300)
})

/** The bytes as they were, and no traces of an attempt to mend them. */
function restore(disk: MemoryDisk, name: StoreName, bytes: Buffer): void {
  disk.overwrite(name, bytes)
}

/** All offsets of the ends and some in between. */
function offsets(length: number, random: Seeded): number[] {
  const ends = [0, 9, 10, 14, 20, 50, 70, 100, 120, 128, 130, 133, 137, 140, 145, 160]
  const all = [
    ...ends,
    ...ends.map((at) => length - 1 - at),
    ...Array.from({ length: 8 }, () => random.integer(0, length - 1)),
  ]
  return [...new Set(all)].filter((at) => at >= 0 && at < length)
}

test('a file cut short, emptied or gone is named', async (context) => {
  const { disk, parts, vault, source } = await filled(await scratchCatalogue(context))
  await vault[Symbol.asyncDispose]()
  const open = () => openTestVault(parts())
  const sound = await everything(open, source)
  let named = 0
  for (const name of disk.names) {
    // Records of agents, sources and tokens that are gone leave no trace: who can remove files can revoke.
    if (name.startsWith('registry/') && name !== 'registry/vault.record') continue
    const bytes = disk.contents(name)
    for (const length of [bytes.length - 1, bytes.length - 104, 200, 128, 64, 0, undefined]) {
      if (length === undefined) disk.delete(name)
      else disk.overwrite(name, bytes.subarray(0, Math.max(0, length)))
      const { told, errors } = await everything(open, source)
      if (errors.length === 0) assert.deepEqual(told, sound.told, `${name} of ${length} bytes is not noticed`)
      else named++
      restore(disk, name, bytes)
    }
  }
  assert.ok(named > 50)
})

test('damage in one journal stops that one only', async () => {
  const { disk, parts, vault, agent, source } = await filled()
  const other = await addAgentWithSource(vault, 'b')
  await vault[Symbol.asyncDispose]()
  const last = disk.names.findLast((name) => name.includes(source) && name.endsWith('.segment'))!
  const bytes = disk.contents(last)
  bytes[300]! ^= 1
  disk.overwrite(last, bytes)
  await using again = await openTestVault(parts())
  const isDamage = (error: unknown): boolean => isCode(error, 'damaged')
  assert.ok(
    isDamage(again.journal(source).damage) || (await failure(collect(again.journal(source).batches(sequence(14))))),
  )
  await using fine = await again.appender(other.agent, other.source, forever)
  await fine.batch(batchOf(1, [write('f', 0, Buffer.from('x'))]))
  if (again.journal(source).damage) {
    await assert.rejects(again.appender(agent, source, forever), isDamage)
  }
})

const failure = (work: Promise<unknown>): Promise<boolean> =>
  work.then(
    () => false,
    (error: unknown) => isCode(error, 'damaged'),
  )

test('a journal whose checkpoint is damaged takes changes, says so, and what needs the checkpoint is refused', async () => {
  const { disk, parts, vault, agent, source } = await filled()
  const whole = await collect(vault.journal(source).batches(sequence(14)))
  await vault[Symbol.asyncDispose]()
  const name = disk.names.find((one) => one.includes('/checkpoints/'))!
  const bytes = disk.contents(name)
  const isDamage = (error: unknown): boolean => isCode(error, 'damaged')
  const flipped = (at: number): Buffer => {
    const copy = Buffer.from(bytes)
    copy[at]! ^= 1
    return copy
  }
  let appended = 0
  for (const damage of [flipped(40), flipped(140), flipped(bytes.length - 30), bytes.subarray(0, 200), undefined]) {
    if (damage === undefined) disk.delete(name)
    else disk.overwrite(name, damage)
    await using again = await openTestVault(parts())
    const journal = again.journal(source)
    assert.ok(isDamage(journal.damage) && again.damage.length === 1)
    await assert.rejects(journal.checkpoint(), isDamage)
    {
      await using appender = await again.appender(agent, source, forever)
      await appender.batch(batchOf(31 + appended++, [write('log', 0, Buffer.from('x'))]))
    }
    const now = await collect(journal.batches(sequence(14)))
    assert.equal(now.length, whole.length + appended)
    assert.deepEqual(now.slice(0, whole.length), whole)
  }

  // The next checkpoint stands for everything before it.
  await using again = await openTestVault(parts())
  const journal = again.journal(source)
  const { chunks } = blockOf(again, Buffer.alloc(900, 1))
  await journal.writeCheckpoint(sequence(30), moment(start + 29), [putFile('f', chunks)])
  await journal.dropBefore(sequence(30))
  assert.equal(journal.damage, undefined)
  assert.equal((await journal.checkpoint())?.at, 30)
})

test('a torn tail is cut at any byte, and a flipped bit before what was durable is damage', async () => {
  const { disk, parts, vault, source } = await filled()
  const end = vault.journal(source).durable
  disk.kill()
  const segment = disk.names.findLast((name) => name.endsWith('.segment'))!
  const files = new Map(disk.names.map((name) => [name, disk.contents(name)]))
  const whole = files.get(segment)!
  const reset = (): void => {
    for (const name of disk.names) disk.delete(name)
    for (const [name, bytes] of files) disk.overwrite(name, bytes)
  }
  const ends: number[] = []
  const key = createSecretKey(vault.registry.journalKey(source))
  for await (const frame of (await openSealed(disk.store(), segment, key)).frames()) ends.push(frame.at + frame.bytes)
  assert.ok(ends.length >= 3 && ends.at(-1) === whole.length)

  for (let length = ends.at(-3)!; length <= whole.length; length++) {
    reset()
    disk.overwrite(segment, whole.subarray(0, length))
    await using again = await openTestVault(parts())
    assert.deepEqual(again.damage, [])
    const lost = ends.filter((at) => at > length).length
    assert.equal(again.journal(source).durable, end - lost * 2, `cut to ${length}`)
    assert.equal((await collect(again.journal(source).batches(sequence(14)))).length, (end - 14) / 2 - lost)
  }

  for (let at = 128; at < ends.at(-2)!; at += 23) {
    reset()
    const flipped = Buffer.from(whole)
    flipped[at]! ^= 16
    disk.overwrite(segment, flipped)
    await using again = await openTestVault(parts())
    assert.ok(isCode(again.journal(source).damage, 'damaged'), `flipped at ${at}`)
    assert.match(again.journal(source).damage!.message, /segment is damaged at byte \d+/)
  }
})

test('bytes at the end that were noted as durable are damaged, not torn', async (context) => {
  const { disk, parts, source } = await filled(await scratchCatalogue(context))
  await systemClock.sleep(1200)
  disk.kill()
  const segment = disk.names.findLast((name) => name.endsWith('.segment'))!
  const bytes = disk.contents(segment)
  bytes[bytes.length - 1]! ^= 1
  disk.overwrite(segment, bytes)
  await using again = await openTestVault(parts())
  assert.ok(isCode(again.journal(source).damage, 'damaged'))
})

test('history before a checkpoint can be dropped, and what is after it stays', async () => {
  const { vault, source } = await filled()
  const journal = vault.journal(source)
  const checkpoint = await journal.checkpoint()
  assert.equal(checkpoint?.at, 14)
  assert.equal((await collect(checkpoint!.changes)).flat().length, 1)
  await assert.rejects(collect(journal.batches(beforeFirst)), (error) => isCode(error, 'point-unreachable'))
  assert.equal((await collect(journal.batches(sequence(14))))[0]!.batch.first, 15)
  await vault[Symbol.asyncDispose]()
})
