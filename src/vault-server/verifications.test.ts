import assert from 'node:assert/strict'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { z } from 'zod'
import { servedVault } from '../../test/support/served-vault.ts'
import { until } from '../../test/support/until.ts'
import { addAgentWithSource, batchOf, blockOf, putFile, start } from '../../test/support/vault-world.ts'
import type { ApiClient } from '../api/client.ts'
import { jsonLines } from '../api/client.ts'
import { type SourceStatus, sourceStatus, verification, verifyEvent } from '../api/schemas.ts'
import { systemRandom } from '../base/random.ts'
import type { Change } from '../model/change.ts'
import { isoMoment, moment } from '../model/moment.ts'
import type { Vault } from '../vault/vault.ts'

const path = '/v1/sources/ledger-files'

async function prepareLedger(vault: Vault, more: readonly Change[] = []): Promise<void> {
  const { agent, source } = await addAgentWithSource(vault, 'ledger')
  const { chunks, bytes } = blockOf(vault, systemRandom.bytes(30_000))
  await using appender = await vault.appender(agent, source, new AbortController().signal)
  await appender.block(bytes)
  await appender.batch(batchOf(1, [putFile('f', chunks), ...more]))
}

const statusOf = (operator: ApiClient): Promise<SourceStatus> => operator.json('GET', path, sourceStatus)
const recorded = (operator: ApiClient, query = '') =>
  operator.json('GET', `${path}/verifications${query}`, z.array(verification))

async function readBack(operator: ApiClient): Promise<z.infer<typeof verifyEvent>> {
  await until('it is indexed', async () => (await statusOf(operator)).indexed > 0)
  for await (const event of jsonLines(await operator.stream('POST', `${path}/verify`), verifyEvent)) {
    if (event.done) return event
  }
  assert.fail('the verification ended early')
}

test('what was read back and found good is recorded, and is told with the status', async (context) => {
  const { operator } = await servedVault(context, (vault) => prepareLedger(vault))
  assert.equal((await statusOf(operator)).verified, null)
  const event = await readBack(operator)
  assert.deepEqual([event.failures, event.notRecorded], [[], undefined])
  const [one, ...others] = await recorded(operator)
  assert.deepEqual(others, [])
  const told = {
    good: true,
    files: 1,
    bytes: 30_000,
    sequence: 1,
    moment: isoMoment(moment(start + 1)),
    by: 'operator',
  }
  assert.deepEqual({ ...one, ...told }, one)
  const { verified } = await statusOf(operator)
  assert.deepEqual(verified, { moment: one?.at, point: one?.moment, good: true, text: one?.text })
})

test('what was found wrong is recorded with what it is', async (context) => {
  const { operator, directory } = await servedVault(context, (vault) => prepareLedger(vault))
  const packs = join(directory, 'packs')
  for (const name of readdirSync(packs)) {
    const bytes = readFileSync(join(packs, name))
    writeFileSync(join(packs, name), bytes.fill(0xff, 10_000, 10_064))
  }
  assert.equal((await readBack(operator)).failures.length, 1)
  const [one] = await recorded(operator)
  assert.equal(one?.good, false)
  assert.match(one?.text ?? '', /1 wrong: \/f: /)
  assert.equal((await statusOf(operator)).verified?.good, false)
})

test('who verified elsewhere has it recorded, and a span tells what ended in it, the newest first', async (context) => {
  const { operator } = await servedVault(context, (vault) => prepareLedger(vault))
  await until('it is indexed', async () => (await statusOf(operator)).indexed > 0)
  const told = { at: 'latest', good: true, bytes: 7, seconds: 1.5 }
  for (const text of ['recovered to lsn:0/1', 'recovered to lsn:0/2']) {
    await operator.json('POST', `${path}/verifications`, verification, { ...told, text })
  }
  const [newest, oldest] = await recorded(operator)
  assert.deepEqual([newest?.text, oldest?.text], ['recovered to lsn:0/2', 'recovered to lsn:0/1'])
  assert.deepEqual(await recorded(operator, `?to=${oldest?.at}`), [])
  assert.equal((await recorded(operator, `?from=${oldest?.at}&limit=1`)).length, 1)
  await assert.rejects(
    operator.json('POST', `${path}/verifications`, verification, { ...told, at: 'seq:99', text: 'of the future' }),
    /no recovery point/,
  )
})

test('the newest hole is told with the status', async (context) => {
  const hole: Change = {
    kind: 'mark',
    mark: { type: 'hole', since: moment(start - 5_000_000), reason: 'the spool was full' },
  }
  const { operator } = await servedVault(context, (vault) => prepareLedger(vault, [hole]))
  await until('it is indexed', async () => (await statusOf(operator)).indexed > 1)
  await until('the hole is known', async () => (await statusOf(operator)).hole !== null)
  const since = isoMoment(moment(start - 5_000_000))
  assert.deepEqual((await statusOf(operator)).hole, { moment: since, until: null, reason: 'the spool was full' })
})
