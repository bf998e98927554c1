import type { Connection } from '../src/capture/postgres/protocol/connection.ts'
import { type Comparison, compare } from './comparison.ts'
import { orderTables, rowName } from './orders.ts'

/** Every row of every table against the record; a table too many or too few is a difference as well. */
export async function compareRows(connection: Connection, record: ReadonlyMap<string, string>): Promise<Comparison> {
  const [found] = await connection.query(
    `SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace`,
  )
  const tables = new Set(found?.rows.map(([name]) => name ?? ''))
  const restored = new Map<string, string>()
  const differences = [...tables].filter((name) => !(name in orderTables)).map((name) => `too much: table ${name}`)
  for (const table of Object.keys(orderTables)) {
    if (!tables.has(table)) continue
    const [answer] = await connection.query(`SELECT * FROM ${table}`)
    for (const row of answer?.rows ?? []) restored.set(rowName(table, row), JSON.stringify(row))
  }
  const comparison = compare(record, restored)
  return { compared: comparison.compared, differences: [...differences, ...comparison.differences] }
}
