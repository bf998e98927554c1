import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Connection } from '../src/capture/postgres/protocol/connection.ts'
import { formatBytes, formatCount } from '../src/cli/format.ts'
import type { PostgresMajor } from '../test/support/postgres-program.ts'
import { connectTo, createCluster, chooseMajor, stopCluster } from './cluster.ts'
import { treeBytes } from './comparison.ts'
import { Editor } from './editor.ts'
import { OrderRecord } from './order-record.ts'
import { Orders } from './orders.ts'
import { say } from './screen.ts'
import type { Site } from './site.ts'

const documentsAtFirst = 3000
const ordersAtFirst = 20_000
const clients = 4
const seed = 20_261_122

/** A business at work: a directory that people edit, and a PostgreSQL server in which orders are written. */
export interface Office {
  readonly documents: string
  readonly editor: Editor
  readonly major: PostgresMajor
  /** The data directory. */
  readonly cluster: string
  readonly orders: Orders
  readonly record: OrderRecord
  /** Of whoever drops a table. */
  readonly administrator: Connection
}

export async function openOffice(site: Site): Promise<Office> {
  const documents = join(site.place, 'documents')
  mkdirSync(documents)
  const editor = new Editor(documents, seed)
  editor.fill(documentsAtFirst)
  say('documents', `${formatCount(editor.record.size)} files in a directory, ${formatBytes(treeBytes(documents))}`)

  const major = chooseMajor()
  const cluster = join(site.place, 'postgres', 'data')
  site.onEnd(() => stopCluster(cluster))
  await createCluster(major, cluster)
  const administrator = await connectTo(cluster)
  const connections = await Promise.all(Array.from({ length: clients }, () => connectTo(cluster)))
  const record = new OrderRecord(join(site.place, 'orders-record.jsonl'))
  const orders = new Orders(connections, record, seed)
  await orders.fill(ordersAtFirst)
  const [size] = await administrator.query('SELECT pg_database_size(current_database())')
  say(
    'database',
    `PostgreSQL ${administrator.parameters.get('server_version')} with ${formatCount(ordersAtFirst)} orders, ${formatBytes(Number(size?.rows[0]?.[0]))}`,
  )
  return { documents, editor, major, cluster, orders, record, administrator }
}
