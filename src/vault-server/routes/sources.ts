import { z } from 'zod'
import {
  excludes,
  markAnswer,
  markRequest,
  name,
  policy,
  postgresChange,
  volumeSettings,
  sourceRequest,
  sourceStatus,
  vaultStatus,
} from '../../api/schemas.ts'
import { TidemarkError } from '../../base/errors.ts'
import type { Moment } from '../../model/moment.ts'
import { defaultPolicyOf, defaultPostgres, defaultVolume, type SourceKind } from '../../model/source.ts'
import { agentFor, demandKnown, readableSource, sourceFor, visibleSources } from '../access.ts'
import type { Context } from '../context.ts'
import type { Caller } from '../http.ts'
import type { Http } from '../../http/server.ts'
import { gone } from '../../http/streams.ts'

const named = z.object({ source: z.string() })

/** Sources: what is protected, how it does, and what a user asks of it. */
export function sourceRoutes(http: Http, context: Context): void {
  const { vault, live, derived, statuses } = context
  const { registry } = vault

  http.get(
    '/v1/status',
    { schema: { summary: 'Every source and the vault', response: { 200: vaultStatus } } },
    async (request) => {
      demandKnown(request.caller)
      const [head, sources] = await Promise.all([
        statuses.vault(),
        statuses.sources(visibleSources(registry, request.caller)),
      ])
      return { ...head, sources }
    },
  )

  http.get(
    '/v1/sources/:source',
    { schema: { summary: 'One source', params: named, response: { 200: sourceStatus } } },
    async (request) => statuses.source(readableSource(context, request.caller, request.params.source)),
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
      return statuses.source(definition)
    },
  )

  const change = z.object({
    system: name.optional(),
    exclude: excludes.optional(),
    postgres: postgresChange.optional(),
    volume: volumeSettings.omit({ backing: true }).partial().optional(),
    policy: policy.partial().optional(),
  })
  http.patch(
    '/v1/sources/:source',
    { schema: { summary: 'Change how it is protected', params: named, body: change, response: { 200: sourceStatus } } },
    async (request) => {
      const source = sourceFor(registry, request.caller, request.params.source)
      const { system, exclude, postgres, volume, policy: wanted } = request.body
      demandNotShorter(request.caller, source.policy.windowMs, wanted?.windowMs)
      const changed = await registry.changeSource(source.id, {
        ...(system === undefined ? {} : { system }),
        ...(exclude === undefined ? {} : { exclude }),
        ...(postgres && source.postgres ? { postgres: { ...source.postgres, ...withoutUndefined(postgres) } } : {}),
        ...(volume && source.volume ? { volume: { ...source.volume, ...withoutUndefined(volume) } } : {}),
        ...(wanted === undefined ? {} : { policy: { ...source.policy, ...withoutUndefined(wanted) } }),
      })
      return statuses.source(changed)
    },
  )

  http.delete(
    '/v1/sources/:source',
    { schema: { summary: 'End the protection; the history is kept for its window', params: named } },
    async (request) => {
      const source = sourceFor(registry, request.caller, request.params.source)
      await registry.changeSource(source.id, { retired: context.clock.now() as Moment })
      live.forget(source.id)
      statuses.forget(source.id)
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

/** Whoever has taken over a server has what it protects, and shall not have its past deleted besides. */
function demandNotShorter(caller: Caller, windowMs: number, wanted: number | undefined): void {
  if (caller.kind !== 'agent' || wanted === undefined || wanted >= windowMs) return
  throw new TidemarkError('not-allowed', {
    message: 'a server does not shorten the window of what it protects: that deletes history',
    hint: 'give the command on the machine of the vault, or at a console',
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
