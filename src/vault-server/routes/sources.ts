import { z } from 'zod'
import {
  markAnswer,
  markRequest,
  name,
  policy,
  postgresSettings,
  volumeSettings,
  sourceRequest,
  sourceStatus,
  vaultStatus,
} from '../../api/schemas.ts'
import { TidemarkError } from '../../base/errors.ts'
import { isoMoment, type Moment } from '../../model/moment.ts'
import {
  defaultPolicyOf,
  defaultPostgres,
  defaultVolume,
  type SourceDefinition,
  type SourceKind,
} from '../../model/source.ts'
import { softwareVersion } from '../../wire/software.ts'
import { agentFor, demandKnown, sourceFor, visibleSources } from '../access.ts'
import { tellSource } from '../answers.ts'
import type { Context } from '../context.ts'
import { gone, type Http } from '../http.ts'

const named = z.object({ source: z.string() })

/** Sources: what is protected, how it does, and what a user asks of it. */
export function sourceRoutes(http: Http, context: Context): void {
  const { vault, live, space, derived } = context
  const { registry } = vault

  http.get(
    '/v1/status',
    { schema: { summary: 'Every source and the vault', response: { 200: vaultStatus } } },
    async (request) => {
      demandKnown(request.caller)
      const [freeBytes, storedBytes, sources] = await Promise.all([
        space.freeBytes(),
        space.storedBytes(),
        Promise.all(visibleSources(registry, request.caller).map((source) => statusOf(context, source))),
      ])
      return {
        id: vault.id,
        name: registry.name,
        version: softwareVersion,
        now: isoMoment(context.clock.now() as Moment),
        stalled: vault.stalled,
        freeBytes,
        storedBytes,
        damage: [...registry.damage, ...vault.packDamage].map(({ message }) => message),
        sources: sources.sort((a, b) => (a.name < b.name ? -1 : 1)),
      }
    },
  )

  http.get(
    '/v1/sources/:source',
    { schema: { summary: 'One source', params: named, response: { 200: sourceStatus } } },
    async (request) => statusOf(context, sourceFor(registry, request.caller, request.params.source)),
  )

  http.post(
    '/v1/sources',
    { schema: { summary: 'Protect something', body: sourceRequest, response: { 200: sourceStatus } } },
    async (request) => {
      const { name: called, kind, agent, system, paths, exclude, postgres, volume, policy: wanted } = request.body
      checkKind(request.body)
      const definition = await vault.addSource({
        name: called,
        kind,
        agent: agentFor(registry, request.caller, agent),
        ...(system === undefined ? {} : { system }),
        paths,
        exclude,
        ...(postgres === undefined
          ? {}
          : { postgres: { ...defaultPostgres, ...withoutUndefined(postgres), url: postgres.url } }),
        ...(volume === undefined
          ? {}
          : { volume: { ...defaultVolume, ...withoutUndefined(volume), backing: volume.backing } }),
        policy: { ...defaultPolicyOf(kind), ...withoutUndefined(wanted) },
        paused: false,
      })
      await derived.add(definition.id)
      return statusOf(context, definition)
    },
  )

  const change = z.object({
    system: name.optional(),
    exclude: z.array(z.string()).optional(),
    postgres: postgresSettings.partial().optional(),
    volume: volumeSettings.omit({ backing: true }).partial().optional(),
    policy: policy.partial().optional(),
  })
  http.patch(
    '/v1/sources/:source',
    { schema: { summary: 'Change how it is protected', params: named, body: change, response: { 200: sourceStatus } } },
    async (request) => {
      const source = sourceFor(registry, request.caller, request.params.source)
      const { system, exclude, postgres, volume, policy: wanted } = request.body
      const changed = await registry.changeSource(source.id, {
        ...(system === undefined ? {} : { system }),
        ...(exclude === undefined ? {} : { exclude }),
        ...(postgres && source.postgres ? { postgres: { ...source.postgres, ...withoutUndefined(postgres) } } : {}),
        ...(volume && source.volume ? { volume: { ...source.volume, ...withoutUndefined(volume) } } : {}),
        ...(wanted === undefined ? {} : { policy: { ...source.policy, ...withoutUndefined(wanted) } }),
      })
      return statusOf(context, changed)
    },
  )

  http.delete(
    '/v1/sources/:source',
    { schema: { summary: 'End the protection; the history is kept for its window', params: named } },
    async (request) => {
      const source = sourceFor(registry, request.caller, request.params.source)
      await registry.changeSource(source.id, { retired: context.clock.now() as Moment })
      live.forget(source.id)
      return {}
    },
  )

  for (const [word, paused] of [
    ['pause', true],
    ['resume', false],
  ] as const) {
    http.post(
      `/v1/sources/:source/${word}`,
      { schema: { summary: paused ? 'Capture nothing until resumed' : 'Go on capturing', params: named } },
      async (request) => {
        await registry.changeSource(sourceFor(registry, request.caller, request.params.source).id, { paused })
        return {}
      },
    )
  }

  http.post(
    '/v1/sources/:source/reconcile',
    { schema: { summary: 'Compare everything with the source now', params: named } },
    async (request) => {
      live.source(sourceFor(registry, request.caller, request.params.source).id).reconcile()
      return {}
    },
  )

  http.post(
    '/v1/sources/:source/marks',
    { schema: { summary: 'Name this moment', params: named, body: markRequest, response: { 200: markAnswer } } },
    async (request, reply) => {
      const source = sourceFor(registry, request.caller, request.params.source)
      return { sequence: await live.source(source.id).mark(request.body.label, gone(request, reply)) }
    },
  )
}

async function statusOf({ vault, live, derived, clock }: Context, definition: SourceDefinition) {
  const { registry } = vault
  const journal = vault.journal(definition.id)
  const { indexes, views } = derived
  const indexed = indexes.indexed(definition.id)
  const earliest = indexed > 0 ? (await views.statistics(definition.id)).earliest : undefined
  const agent = registry.agents.find(({ id }) => id === definition.agent)
  const failure = registry.agentDamage(definition.agent) ?? journal.damage ?? indexes.failure(definition.id)
  return tellSource({
    definition,
    agentName: agent?.name ?? definition.agent,
    agentConnected: live.isConnected(definition.agent),
    live: live.source(definition.id),
    durable: journal.durable,
    moment: journal.durable > 0 ? journal.end.moment : undefined,
    failure,
    indexed,
    earliest,
    stalled: vault.stalled || failure?.code === 'vault-full',
    now: clock.now() as Moment,
    nowMs: clock.monotonicMs(),
  })
}

/** Each kind is told by what belongs to it, and by nothing else. */
function checkKind(wanted: z.output<typeof sourceRequest>): void {
  const { kind, paths, exclude, postgres, volume } = wanted
  const given = { files: paths.length > 0, postgres: postgres !== undefined, volume: volume !== undefined }
  const isAlone = Object.entries(given).every(([one, is]) => is === (one === kind))
  if (isAlone && (kind === 'files' || exclude.length === 0)) return
  throw new TidemarkError('bad-request', { message: `this is no source of kind ${kind}`, hint: kindHints[kind] })
}

const kindHints: Record<SourceKind, string> = {
  files: 'give at least one path, and nothing of another kind',
  postgres: 'give "postgres" with a "url", and neither paths nor patterns',
  volume: 'give "volume" with a "backing", and neither paths nor patterns',
}

const withoutUndefined = <T extends object>(value: T): { [K in keyof T]?: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(value).filter(([, one]) => one !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>
  }
