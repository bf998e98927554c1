import { hostname } from 'node:os'
import { z } from 'zod'
import { addVaultRequest, sites, vaultEntry } from '../../api/console.ts'
import { TidemarkError } from '../../base/errors.ts'
import type { Http } from '../../http/server.ts'
import { gone } from '../../http/streams.ts'
import type { Context } from '../context.ts'

const named = z.object({ vault: z.string().min(1).max(63) })

/** Which vaults this console sees, and at which sites things stand. */
export function vaultRoutesOfConsole(http: Http, { federation, siteTable }: Context): void {
  http.get(
    '/api/vaults',
    {
      config: { needs: 'see' },
      schema: { summary: 'The vaults, and whether they are reached', response: { 200: z.array(vaultEntry) } },
    },
    async () => federation.entries(),
  )

  http.post(
    '/api/vaults',
    {
      config: { needs: 'vaults' },
      schema: {
        summary: 'Add a vault with a token made there for a console, or one again',
        body: addVaultRequest,
        response: { 200: vaultEntry },
      },
    },
    async (request, reply) => {
      const { url, token, site } = request.body
      request.told = { action: 'vaults', subject: url, detail: 'add' }
      const as = hostname().replaceAll(/[^\p{L}\p{N}._-]/gu, '-')
      const entry = await federation.add({ ...addressOf(url), token, as, site }, gone(request, reply))
      request.told = { action: 'vaults', subject: entry.name, detail: `added at ${entry.url}` }
      return entry
    },
  )

  http.delete(
    '/api/vaults/:vault',
    {
      config: { needs: 'vaults' },
      schema: {
        summary: 'Forget a vault; what it keeps stays, and it is told nothing: revoke the console there',
        params: named,
      },
    },
    async (request) => {
      const { name, url } = federation.demand(request.params.vault).entry
      request.told = { action: 'vaults', subject: name, detail: `removed from ${url}` }
      await federation.remove(request.params.vault)
      return {}
    },
  )

  http.get(
    '/api/sites',
    { config: { needs: 'see' }, schema: { summary: 'Where vaults and servers stand', response: { 200: sites } } },
    async () => siteTable.read(),
  )

  http.put(
    '/api/sites',
    {
      config: { needs: 'vaults' },
      schema: { summary: 'Say where vaults and servers stand, all of them', body: sites, response: { 200: sites } },
    },
    async (request) => {
      request.told = { action: 'vaults', subject: 'sites' }
      siteTable.write(request.body)
      for (const vault of federation.vaults) federation.placed(vault.record.id, request.body.vaults[vault.record.id])
      return siteTable.read()
    },
  )
}

/** HOST:PORT, with or without https:// before it. */
function addressOf(url: string): { host: string; port: number } {
  const found = /^(?:https:\/\/)?(?:\[([0-9a-fA-F:.]+)\]|([^:/\s[\]]+)):(\d{1,5})\/?$/.exec(url.trim())
  const host = found?.[1] ?? found?.[2]
  const port = Number(found?.[3])
  if (host !== undefined && port >= 1 && port <= 65_535) return { host, port }
  throw new TidemarkError('bad-request', {
    message: `"${url}" is no address of a vault`,
    hint: 'write it as HOST:PORT, as agents dial it: vault.county.example:7433',
  })
}
