import type { z } from 'zod'
import type { sites } from '../api/console.ts'
import type { Database } from './database.ts'

export type Sites = z.infer<typeof sites>

/** Where vaults and servers stand, as somebody said. */
export class SiteTable {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  read(): Sites {
    const { sqlite } = this.#database
    const vaults = sqlite.prepare('SELECT id, site FROM vaults WHERE site IS NOT NULL').all()
    const agents = sqlite.prepare('SELECT agent, site FROM agent_sites').all()
    return {
      vaults: Object.fromEntries((vaults as { id: string; site: string }[]).map(({ id, site }) => [id, site])),
      agents: Object.fromEntries((agents as { agent: string; site: string }[]).map(({ agent, site }) => [agent, site])),
    }
  }

  /** Replaces what was said; of vaults that are not known nothing is kept. */
  write({ vaults, agents }: Sites): void {
    const { sqlite } = this.#database
    this.#database.atomically(() => {
      sqlite.exec('UPDATE vaults SET site = NULL; DELETE FROM agent_sites')
      const place = sqlite.prepare('UPDATE vaults SET site = ? WHERE id = ?')
      for (const [id, site] of Object.entries(vaults)) place.run(site, id)
      const insert = sqlite.prepare('INSERT INTO agent_sites (agent, site) VALUES (?, ?)')
      for (const [agent, site] of Object.entries(agents)) insert.run(agent, site)
    })
  }
}
