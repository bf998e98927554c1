import type { z } from 'zod'
import type { preflightRow, restoreBody, TaskBody } from '../../api/tasks.ts'
import { isCode, TidemarkError } from '../../base/errors.ts'
import { isoMoment, type Moment, parseMoment } from '../../model/moment.ts'
import { preflightFact as fact } from '../../model/preflight.ts'
import type { Id, SourceDefinition } from '../../model/source.ts'
import type { Agent } from '../../vault/registry.ts'
import { type RestoreStep, restoreStepsMax, taskWork, type TaskWork } from '../../wire/orders.ts'
import { agentFor, sourceFor } from '../access.ts'
import type { Context } from '../context.ts'
import { resolvePoint } from '../resolve-point.ts'

/** What is to be done, and by whom: an agent, or where none is named the vault. */
export interface Plan {
  readonly source?: SourceDefinition
  readonly agent?: Agent
  /** That are read. */
  readonly sources: readonly Id[]
  readonly work?: TaskWork
  /** The vault's own answers to a pre-flight check. */
  readonly rows?: readonly PreflightRow[]
}
export type PreflightRow = z.infer<typeof preflightRow>
type Restoring = Omit<z.infer<typeof restoreBody>, 'kind'>
type Known = Pick<Context, 'vault' | 'derived' | 'live' | 'clock'>

const operator = { kind: 'operator' } as const

/** Refuses what cannot be done, before anything is begun. Points are made to stand still: a resumed task means the same ones. */
export async function planTask(body: TaskBody, known: Known): Promise<Plan> {
  const { registry } = known.vault
  switch (body.kind) {
    case 'restore':
      return planRestore(body, known)
    case 'preflight':
      return planPreflight(body, known)
    case 'verify': {
      const source = sourceFor(registry, operator, body.source)
      const at = await standing(source, body.at, known)
      if (source.kind !== 'postgres') return { source, sources: [source.id] }
      const agent = registry.agent(source.agent)
      return { source, agent, sources: [], work: sendable({ kind: 'verify', source: source.name, at }) }
    }
    case 'discover': {
      const agent = registry.agent(agentFor(registry, operator, body.agent))
      return { agent, sources: [], work: { kind: 'discover' } }
    }
    case 'baseline': {
      const source = sourceFor(registry, operator, body.source)
      return { source, sources: [source.id] }
    }
  }
}

async function planRestore(wanted: Restoring, known: Known): Promise<Plan & { work: TaskWork & { kind: 'restore' } }> {
  const { registry } = known.vault
  const agent = registry.agent(agentFor(registry, operator, wanted.agent))
  const sources = sourcesOf(wanted, known)
  const isInPlace = wanted.inPlace !== undefined
  if (isInPlace) checkInPlace(wanted, sources, agent)
  if (wanted.paths.length > 0 && sources.some(({ kind }) => kind !== 'files'))
    throw new TidemarkError('bad-request', {
      message: 'a PostgreSQL cluster or a volume cannot be restored in parts',
      hint: 'leave out the paths',
    })
  const at = wanted.system !== undefined && wanted.at === 'latest' ? sameMoment(sources, known) : wanted.at
  const steps: RestoreStep[] = []
  for (const source of sources) {
    steps.push({
      source: source.name,
      kind: source.kind,
      at: await standing(source, at, known),
      to: wanted.system === undefined ? wanted.to : `${wanted.to.replace(/\/$/, '')}/${source.name}`,
    })
  }
  const [only] = sources
  return {
    ...(wanted.system === undefined && only !== undefined ? { source: only } : {}),
    agent,
    sources: sources.map(({ id }) => id),
    work: sendable({ kind: 'restore', steps, paths: wanted.paths, start: wanted.start, isInPlace }),
  }
}

/** What a restore would be refused for is an answer here, not a failure. */
async function planPreflight(wanted: Restoring, known: Known): Promise<Plan> {
  const { registry } = known.vault
  const agent = registry.agent(agentFor(registry, operator, wanted.agent))
  const rows: PreflightRow[] = [
    known.live.isConnected(agent.id)
      ? {
          check: 'agent',
          verdict: 'good',
          ...fact('agent-connected', { agent: agent.name }),
          message: `agent "${agent.name}" is connected`,
        }
      : {
          check: 'agent',
          verdict: 'refused',
          ...fact('agent-away', { agent: agent.name }),
          message: `agent "${agent.name}" is not connected`,
          hint: 'start it ("tidemark agent run") or mend the line; what is asked on its server is asked then',
        },
  ]
  try {
    const { work, ...plan } = await planRestore(wanted, known)
    rows.push({
      check: 'point',
      verdict: 'good',
      ...fact('point-there', { sources: work.steps.map((step) => step.source).join(', ') }),
      message: `the point is there: ${work.steps.map((step) => `${step.source} at ${step.at}`).join(', ')}`,
    })
    const isAsked = rows.every(({ verdict }) => verdict !== 'refused')
    return { ...plan, rows, ...(isAsked ? { work: { ...work, kind: 'preflight' } } : {}) }
  } catch (error) {
    if (!isCode(error, 'point-unreachable') && !isCode(error, 'damaged')) throw error
    const { message, hint } = error
    rows.push({
      check: 'point',
      verdict: 'refused',
      ...fact(error.code === 'damaged' ? 'point-damaged' : 'point-unreachable', { error: message }),
      message,
      ...(hint === undefined ? {} : { hint }),
    })
    return { agent, sources: [], rows }
  }
}

function sourcesOf({ source, system }: Restoring, { vault: { registry } }: Known): SourceDefinition[] {
  if ((source === undefined) === (system === undefined))
    throw new TidemarkError('bad-request', {
      message: 'name a source or a system, and not both',
      hint: '"tidemark status" lists both',
    })
  if (source !== undefined) return [sourceFor(registry, operator, source)]
  const members = registry.sources.filter((one) => one.system === system)
  if (members.length > 0) return members
  throw new TidemarkError('not-found', {
    message: `no source belongs to a system "${system}"`,
    hint: '"tidemark status" lists them',
  })
}

function checkInPlace({ inPlace, to }: Restoring, sources: readonly SourceDefinition[], agent: Agent): void {
  const [source] = sources
  if (source === undefined || sources.length > 1 || inPlace !== source.name)
    throw new TidemarkError('bad-request', {
      message: 'a restore to the original place needs the name of the source, exactly',
      hint: 'type the name of the source whose present content is to be replaced',
    })
  if (source.kind !== 'files' || source.agent !== agent.id)
    throw new TidemarkError('bad-request', {
      message: `${source.name} cannot be brought back to its original place by this agent`,
      hint:
        source.kind === 'files'
          ? `its place is on the server of "${source.agent}": name that agent`
          : 'restore to another directory, file or device, look at it there, then stop what uses the old one and change them over',
    })
  if (to === '/') return
  throw new TidemarkError('bad-request', {
    message: `the original place is "/", not ${to}: ${source.paths[0]} comes to ${to}${source.paths[0]}`,
    hint: 'give "/" as the place to restore to',
  })
}

/** The latest moment up to which all of them are covered. */
function sameMoment(sources: readonly SourceDefinition[], { vault, live }: Known): string {
  const known = sources.map(({ id, name }) => {
    const { durable, end } = vault.journal(id)
    const latest = live.source(id).meter.covered ?? (durable > 0 ? end.moment : undefined)
    if (latest !== undefined) return latest
    throw new TidemarkError('point-unreachable', {
      message: `${name} has no recovery point yet`,
      hint: 'wait for its baseline',
    })
  })
  return isoMoment(Math.min(...known) as Moment)
}

/** Places in the WAL, and moments of a PostgreSQL source, which mean commits, stand still by themselves. */
const walPlace = /^(?:before:|after:)?(?:lsn|xid|restore-point):/

async function standing(source: SourceDefinition, at: string, known: Known): Promise<string> {
  if (source.kind === 'postgres') {
    const moment = parseMoment(at, known.clock.now() as Moment)
    if (moment !== undefined) return isoMoment(moment)
    if (walPlace.test(at)) return at
  }
  return `seq:${(await resolvePoint(known, source.id, at)).sequence}`
}

/** An order that the agent does not take would end its control connection, and come again on the next one. */
function sendable<T extends TaskWork>(work: T): T {
  const checked = taskWork.safeParse(work)
  if (checked.success) return work
  const [issue] = checked.error.issues
  throw new TidemarkError('bad-request', {
    message: `an agent does not take that: ${issue?.path.join('.')}: ${issue?.message}`,
    hint: `give shorter paths without NUL, and restore a system of more than ${restoreStepsMax} sources one by one`,
  })
}
