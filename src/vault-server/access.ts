import { TidemarkError } from '../base/errors.ts'
import type { Id, SourceDefinition } from '../model/source.ts'
import type { Agent, Registry } from '../vault/registry.ts'
import type { Context } from './context.ts'
import type { Caller } from './http.ts'

/**
 * Who may do what: the operator everything; a console everything but to let consoles in or out; an agent what concerns its own
 * sources; a stranger only enrol.
 */

export function demandAtVault(caller: Caller): void {
  if (caller.kind === 'operator') return
  throw new TidemarkError('not-allowed', {
    message: 'only the operator at the vault itself may do that',
    hint: 'give the command on the machine of the vault',
  })
}

const isOperating = (caller: Caller): boolean => caller.kind === 'operator' || caller.kind === 'console'

export function demandOperator(caller: Caller): void {
  if (isOperating(caller)) return
  throw new TidemarkError('not-allowed', {
    message: 'only the operator of the vault may do that',
    hint: 'give the command on the machine of the vault, or at a console',
  })
}

export function demandKnown(caller: Caller): void {
  if (caller.kind !== 'stranger') return
  throw new TidemarkError('not-allowed', {
    message: 'this needs the certificate of an enrolled agent',
    hint: 'enrol this server with "tidemark agent join"',
  })
}

export const visibleSources = (registry: Registry, caller: Caller): SourceDefinition[] =>
  registry.sources.filter((source) => isOperating(caller) || (caller.kind === 'agent' && caller.agent === source.agent))

/** The source of that name or id; what a caller may not see is not there for him. */
export function sourceFor(registry: Registry, caller: Caller, nameOrId: string): SourceDefinition {
  demandKnown(caller)
  const found = visibleSources(registry, caller).find((source) => source.name === nameOrId || source.id === nameOrId)
  if (found) return found
  const damage = registry.damagedSources.find(({ id }) => id === nameOrId)
  if (damage) throw damage.error
  const isNameLost = registry.damagedSources.length > 0
  throw new TidemarkError('not-found', {
    message: `there is no source "${nameOrId}"`,
    hint: isNameLost
      ? 'it may be one whose record cannot be read: see DAMAGE in "tidemark status"'
      : '"tidemark status" lists them; an agent sees only its own',
  })
}

/** The same, and for an agent also what it was asked to bring back: to read, and nothing else, while that goes on. */
export function readableSource(
  { vault: { registry }, tasks }: Pick<Context, 'vault' | 'tasks'>,
  caller: Caller,
  nameOrId: string,
): SourceDefinition {
  if (caller.kind === 'agent') {
    const granted = tasks.granted(caller.agent)
    const found = registry.sources.find(({ id, name }) => granted.has(id) && (name === nameOrId || id === nameOrId))
    if (found !== undefined) return found
  }
  return sourceFor(registry, caller, nameOrId)
}

export function agentNamed(registry: Registry, nameOrId: string): Agent {
  const agent = registry.agents.find(({ id, name }) => id === nameOrId || name === nameOrId)
  if (agent) return agent
  throw new TidemarkError('not-found', {
    message: `there is no agent "${nameOrId}"`,
    hint: '"tidemark agents" lists them',
  })
}

/** The agent that a new source is for: the asking one, or the one the operator names. */
export function agentFor(registry: Registry, caller: Caller, nameOrId: string | undefined): Id {
  demandKnown(caller)
  if (caller.kind === 'agent') {
    const own = registry.agent(caller.agent)
    if (nameOrId === undefined || nameOrId === own.name || nameOrId === own.id) return own.id
    throw new TidemarkError('not-allowed', {
      message: 'an agent protects only its own server',
      hint: 'give the command on that server, or at the vault',
    })
  }
  const found = registry.agents.find((agent) => !agent.revoked && (agent.name === nameOrId || agent.id === nameOrId))
  if (found) return found.id
  throw new TidemarkError('not-found', {
    message: nameOrId === undefined ? 'no agent was named' : `there is no agent "${nameOrId}"`,
    hint: 'name one with --on; "tidemark agents" lists them',
  })
}

const nameCharactersMax = 63
/** What the vault calls others than users of consoles. */
const isOurOwn = /^(?:operator$|agent )/

const consoleName = (registry: Registry, which: Id): string =>
  registry.consoles.find(({ id }) => id === which)?.name ?? 'a console'

/** Who asks: a console says which of its users, percent-encoded where the name is not ASCII. */
export function asker(registry: Registry, caller: Caller, header: string | string[] | undefined): string {
  if (caller.kind === 'agent') return `agent ${registry.agent(caller.agent).name}`
  if (caller.kind !== 'console' || typeof header !== 'string') return 'operator'
  try {
    const name = decodeURIComponent(header)
    if (name !== '' && name.length <= nameCharactersMax && !/\p{C}/u.test(name))
      return isOurOwn.test(name) ? `${name} of ${consoleName(registry, caller.console)}` : name
  } catch (error) {
    if (!(error instanceof URIError)) throw error
  }
  throw new TidemarkError('bad-request', {
    message: 'tidemark-by does not hold the name of a user',
    hint: 'send it in UTF-8, percent-encoded',
  })
}
