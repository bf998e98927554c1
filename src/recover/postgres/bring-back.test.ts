import assert from 'node:assert/strict'
import { test } from 'node:test'
import { lackingPostgres } from '../../../test/support/postgres-program.ts'
import { Cluster } from '../../../test/support/postgres.ts'
import { collationsQuery, tellCollations } from '../../format/postgres-collations.ts'
import { collationNotes } from './bring-back.ts'

for (const major of [12, 17] as const) {
  test(
    `version ${major}: text that is sorted otherwise where a copy runs is told, and only that`,
    { skip: lackingPostgres(major) },
    async (t) => {
      const cluster = await Cluster.create(t, { major })
      const server = { ask: (text: string) => cluster.sql(text) }
      const notes = (collations: string) => collationNotes(server, { baseline: { properties: { collations } } })
      const here = tellCollations(await cluster.sql(collationsQuery))
      assert.deepEqual(await notes(here), [])
      assert.deepEqual(await notes(''), [])
      const [note, ...more] = await notes(here === '' ? 'libc 0.1' : here.replace(/ [^,]+/, ' 0.1'))
      assert.equal(more.length, 0)
      assert.match(note ?? '', /^text is sorted by \w+ .* here, and was by 0\.1.*: REINDEX/)
    },
  )
}
