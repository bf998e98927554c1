import assert from 'node:assert/strict'
import { test } from 'node:test'
import { z } from 'zod'
import { sourceStatus } from '../../api/schemas.ts'
import { taskRecord } from '../../api/tasks.ts'
import { servedVault } from '../../../test/support/served-vault.ts'
import { until } from '../../../test/support/until.ts'
import { addAgentWithSource, batchOf, putFile } from '../../../test/support/vault-world.ts'

test('what an agent would not take is refused before it is a task', async (context) => {
  const { operator } = await servedVault(context, async (vault) => {
    const { agent, source } = await addAgentWithSource(vault, 'web')
    await vault.registry.changeSource(source, { system: 'shop' })
    await using appender = await vault.appender(agent, source, context.signal)
    await appender.batch(batchOf(1, [putFile('empty', [])]))
  })
  const indexed = async (): Promise<boolean> =>
    (await operator.json('GET', '/v1/sources/web-files', sourceStatus)).indexed > 0
  await until('it is indexed', indexed)
  const restore = { kind: 'restore', agent: 'web', source: 'web-files', at: 'latest', to: '/srv/back' }
  const { source: _, ...restoreOfAll } = { ...restore, system: 'shop' }
  for (const kind of ['restore', 'preflight']) {
    for (const wrong of [
      { ...restore, to: '/srv/\0back' },
      { ...restore, paths: ['/srv/\0docs'] },
      // With the name of the source below it, longer than a path is.
      { ...restoreOfAll, to: `/${'x'.repeat(4_090)}` },
    ]) {
      const asked = operator.json('POST', '/v1/tasks', z.unknown(), { ...wrong, kind })
      await assert.rejects(asked, { code: 'bad-request' })
    }
  }
  assert.deepEqual(await operator.json('GET', '/v1/tasks', z.array(taskRecord)), [])
  await operator.json('POST', '/v1/tasks', taskRecord, restore)
  await operator.json('POST', '/v1/tasks', taskRecord, restoreOfAll)
})
