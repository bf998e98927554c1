import type { Connection } from './protocol/connection.ts'

/** Settings of a server by their names, as numbers in their own units; what this version does not have is left out. */
export class ServerSettings {
  readonly #values: ReadonlyMap<string, string>

  private constructor(values: ReadonlyMap<string, string>) {
    this.#values = values
  }

  static async read(sql: Connection, names: readonly string[], signal?: AbortSignal): Promise<ServerSettings> {
    const list = names.map((name) => `'${name}'`).join(', ')
    const text = `SELECT name, setting FROM pg_catalog.pg_settings WHERE name IN (${list})`
    const rows = (await sql.query(text, signal, `reading the settings of ${sql.where}`))[0]?.rows ?? []
    return new ServerSettings(new Map(rows.map(([name, setting]) => [name ?? '', setting ?? ''])))
  }

  text(name: string): string | undefined {
    return this.#values.get(name)
  }

  number(name: string): number | undefined {
    const text = this.#values.get(name)
    return text === undefined ? undefined : Number(text)
  }

  is(name: string, value: string): boolean {
    return this.#values.get(name) === value
  }
}
