import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemRandom } from '../base/random.ts'
import type { Id } from '../model/source.ts'
import { MemoryDisk } from '../store/memory.ts'
import { memoryVault } from '../../test/support/memory-vault.ts'
import { start } from '../../test/support/vault-world.ts'
import { asker } from './access.ts'

test('no user of a console is taken for who sits at the vault, nor for an agent', async () => {
  const random = systemRandom
  const { vault } = await memoryVault(new MemoryDisk({ random }), { random })
  await using _closed = vault
  const console = 'c'.repeat(32) as Id
  await vault.registry.addConsole({ id: console, name: 'duty-room', certificates: [], enrolled: start })
  const by = (name: string): string => asker(vault.registry, { kind: 'console', console }, encodeURIComponent(name))
  assert.equal(by('张三'), '张三')
  assert.equal(by('operator'), 'operator of duty-room')
  assert.equal(by('agent web'), 'agent web of duty-room')
  assert.equal(asker(vault.registry, { kind: 'operator' }, 'mallory'), 'operator')
})
