import type { Connection } from '../src/capture/postgres/protocol/connection.ts'
import { Dice } from './dice.ts'
import type { OrderRecord, RowChange } from './order-record.ts'

/** The tables of the application, with the columns that name a row. */
export const orderTables: Readonly<Record<string, { readonly key: readonly number[]; readonly columns: string }>> = {
  orders: { key: [0], columns: 'id int PRIMARY KEY, customer int, state text, note text' },
  order_lines: {
    key: [0, 1],
    columns: 'order_id int, line int, article int, pieces int, PRIMARY KEY (order_id, line)',
  },
  stock: { key: [0], columns: 'article int PRIMARY KEY, pieces int' },
}

export const rowName = (table: string, row: readonly (string | number | null)[]): string =>
  `${table} ${(orderTables[table]?.key ?? [0]).map((column) => row[column]).join('/')}`

const articles = 200
const thinkMs = 8
const historyPerTransaction = 500

interface Order {
  readonly id: number
  readonly customer: number
  readonly note: string
  readonly lines: readonly (readonly [line: number, article: number, pieces: number])[]
}

/**
 * A business application: several clients, each with its own connection, enter orders with their lines, pay and cancel
 * them, and keep the stock right, in transactions; some are rolled back. What was committed goes into the record.
 */
export class Orders {
  commits = 0
  readonly #connections: readonly Connection[]
  readonly #record: OrderRecord
  readonly #seed: number
  /** Where orders are entered. */
  #table = 'orders'
  #nextId = 1
  #isOpen = true
  #gate = Promise.withResolvers<void>()
  readonly #inTransaction = new Set<Promise<void>>()
  #clients: Promise<unknown> = Promise.resolve()

  constructor(connections: readonly Connection[], record: OrderRecord, seed: number) {
    this.#connections = connections
    this.#record = record
    this.#seed = seed
    this.#gate.resolve()
  }

  /** The tables, and the orders of the years before. */
  async fill(count: number): Promise<void> {
    const [connection] = this.#connections
    if (connection === undefined) throw new Error('the application has no connection')
    for (const [name, { columns }] of Object.entries(orderTables))
      await connection.query(`CREATE TABLE ${name} (${columns})`)
    const dice = new Dice(this.#seed)
    await this.#transaction(connection, async (changes) => {
      const rows = Array.from({ length: articles }, (_, article) => [article, 1_000_000] as const)
      await insert(connection, 'stock', rows, changes)
    })
    for (let done = 0; done < count; done += historyPerTransaction)
      await this.#transaction(connection, (changes) => {
        const past = Array.from({ length: historyPerTransaction }, () => this.#makeOrder(dice))
        return this.#write(connection, past, changes)
      })
    await connection.query('ANALYZE')
    this.commits = 0
  }

  start(): void {
    this.#clients = Promise.all(
      this.#connections.map((connection, client) => this.#client(connection, new Dice(this.#seed + client + 1))),
    )
    // Told by `stop`.
    this.#clients.catch(() => {})
  }

  /** No transaction is under way once it resolves, and none begins until `release`. */
  async hold(): Promise<void> {
    this.#gate = Promise.withResolvers()
    await Promise.all(this.#inTransaction)
  }

  /** Orders go on, into another table where one is named. */
  release(table = this.#table): void {
    this.#table = table
    this.#gate.resolve()
  }

  async stop(): Promise<void> {
    this.#isOpen = false
    this.#gate.resolve()
    await this.#clients
    for (const connection of this.#connections) await connection[Symbol.asyncDispose]()
  }

  async #client(connection: Connection, dice: Dice): Promise<void> {
    let table = this.#table
    let mine: Order[] = []
    for (;;) {
      await this.#gate.promise
      if (!this.#isOpen) return
      // The orders of a table that is gone can be neither paid nor cancelled.
      if (table !== this.#table) mine = []
      table = this.#table
      const done = this.#oneThing(connection, dice, mine)
      this.#inTransaction.add(done)
      try {
        await done
      } finally {
        this.#inTransaction.delete(done)
      }
      await new Promise((resolve) => setTimeout(resolve, thinkMs))
    }
  }

  async #oneThing(connection: Connection, dice: Dice, mine: Order[]): Promise<void> {
    const throwOf = dice.below(100)
    const one = mine[dice.below(mine.length)]
    if (throwOf < 15 && one !== undefined)
      await this.#transaction(connection, (changes) => this.#pay(connection, one, changes))
    else if (throwOf < 25 && one !== undefined) {
      mine.splice(mine.indexOf(one), 1)
      await this.#transaction(connection, (changes) => this.#cancel(connection, one, changes))
    } else if (throwOf < 30) {
      await connection.query('BEGIN')
      await this.#enter(connection, this.#makeOrder(dice), [])
      await connection.query('ROLLBACK')
    } else {
      const order = this.#makeOrder(dice)
      await this.#transaction(connection, (changes) => this.#enter(connection, order, changes))
      mine.push(order)
    }
  }

  async #transaction(connection: Connection, work: (changes: RowChange[]) => Promise<void>): Promise<void> {
    const changes: RowChange[] = []
    await connection.query('BEGIN')
    await work(changes)
    const [xid] = await connection.query('SELECT txid_current()')
    const commitSent = Date.now() * 1000
    await connection.query('COMMIT')
    this.#record.add({ xid: xid?.rows[0]?.[0] ?? '', commitSent, committed: Date.now() * 1000, changes })
    this.commits++
  }

  #makeOrder(dice: Dice): Order {
    const from = dice.below(articles - 10)
    // Articles ascend, so that two clients never wait for each other.
    const lines = Array.from(
      { length: 1 + dice.below(4) },
      (_, at) => [at + 1, from + at * 2, 1 + dice.below(9)] as const,
    )
    return { id: this.#nextId++, customer: dice.below(5000), note: dice.text(40 + dice.below(160)), lines }
  }

  async #enter(connection: Connection, order: Order, changes: RowChange[]): Promise<void> {
    await this.#write(connection, [order], changes)
    await this.#move(connection, order.lines, -1, changes)
  }

  async #write(connection: Connection, orders: readonly Order[], changes: RowChange[]): Promise<void> {
    const rows = orders.map((order) => rowOf(order, 'new'))
    const lines = orders.flatMap((order) => order.lines.map((line) => [order.id, ...line]))
    await insert(connection, this.#table, rows, changes)
    await insert(connection, 'order_lines', lines, changes)
  }

  async #pay(connection: Connection, order: Order, changes: RowChange[]): Promise<void> {
    const row = rowOf(order, 'paid')
    await connection.query(`UPDATE ${this.#table} SET state = 'paid' WHERE id = ${order.id}`)
    changes.push({ put: rowName(this.#table, row), row: row.map(String) })
  }

  async #cancel(connection: Connection, { id, lines }: Order, changes: RowChange[]): Promise<void> {
    await connection.query(
      `DELETE FROM order_lines WHERE order_id = ${id}; DELETE FROM ${this.#table} WHERE id = ${id}`,
    )
    for (const [line] of lines) changes.push({ remove: rowName('order_lines', [id, line]) })
    changes.push({ remove: rowName(this.#table, [id]) })
    await this.#move(connection, lines, 1, changes)
  }

  /** In or out of the stock. */
  async #move(connection: Connection, lines: Order['lines'], way: 1 | -1, changes: RowChange[]): Promise<void> {
    const texts = lines.map(([, article, pieces]) => {
      changes.push({ add: rowName('stock', [article]), amount: way * pieces })
      return `UPDATE stock SET pieces = pieces + ${way * pieces} WHERE article = ${article}`
    })
    await connection.query(texts.join('; '))
  }
}

const rowOf = ({ id, customer, note }: Order, state: string) => [id, customer, state, note] as const

async function insert(
  connection: Connection,
  table: string,
  rows: readonly (readonly (string | number)[])[],
  changes: RowChange[],
): Promise<void> {
  const values = rows.map(
    (row) => `(${row.map((value) => (typeof value === 'string' ? `'${value}'` : value)).join(', ')})`,
  )
  await connection.query(`INSERT INTO ${table} VALUES ${values.join(', ')}`)
  for (const row of rows) changes.push({ put: rowName(table, row), row: row.map(String) })
}
