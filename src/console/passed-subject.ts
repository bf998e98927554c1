import { z } from 'zod'
import type { VaultStatus } from '../api/schemas.ts'

/** What of a task, a protection or a mark tells what it is about; what a vault takes of a body it checks itself. */
const namedInBody = z
  .object({
    kind: z.string(),
    system: z.string(),
    source: z.string(),
    name: z.string(),
    agent: z.string(),
    to: z.string(),
    label: z.string(),
  })
  .partial()

/** A passed request as it came. */
export interface Passed {
  readonly params: Readonly<Record<string, string>>
  /** Of the address, without its question mark. */
  readonly query: string
  readonly body: unknown
}

/** For the audit log: what it is about, by the names that an operator gave, from the vault down to the path. */
export function subjectOf(vault: string, told: VaultStatus | undefined, { params, query, body }: Passed): string {
  const asked = new URLSearchParams(query)
  const named = namedInBody.safeParse(body).data ?? {}
  const sources = told?.sources ?? []
  const sourceName = (given: string | undefined): string | undefined =>
    sources.find(({ id }) => id === given)?.name ?? given
  const agentName = (given: string | undefined): string | undefined =>
    sources.find(({ agent }) => agent.id === given)?.agent.name ?? given
  const agent = agentName(params['agent'] ?? named.agent)
  const encoded = asked.getAll('pathBytes').map((path) => Buffer.from(path, 'base64').toString('utf8'))
  return [
    vault,
    named.kind,
    sourceName(params['source'] ?? named.source) ?? named.name ?? named.system,
    named.label,
    agent !== undefined && named.to !== undefined ? `${agent}:${named.to}` : (agent ?? named.to),
    ...asked.getAll('path'),
    ...encoded,
    ...asked.getAll('name'),
  ]
    .filter((one) => one !== undefined && one !== '')
    .join(' · ')
}
