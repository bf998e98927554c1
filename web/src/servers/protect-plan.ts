import type { SourceRequest } from '../../../src/api/schemas.ts'

/** What is to be protected, before it has a name and a policy. */
export type Choice =
  | { readonly kind: 'files'; readonly paths: readonly string[] }
  | { readonly kind: 'postgres'; readonly url: string }
  | { readonly kind: 'volume'; readonly backing: string }

export interface PolicyFields {
  readonly name: string
  readonly system?: string
  readonly windowMs: number
  readonly lagMsMax: number
  readonly exclude: readonly string[]
  /** Of databases and volumes: what writes waits for the vault. */
  readonly isZeroLoss: boolean
  /** It goes on without the vault after so long; null: never. */
  readonly degradeMs: number | null
}

const minuteMs = 60_000
const dayMs = 1_440 * minuteMs

export const windowsMs = [dayMs, 3 * dayMs, 7 * dayMs, 14 * dayMs, 30 * dayMs, 90 * dayMs]
export const lagsMs = [5_000, 10_000, 30_000, minuteMs, 5 * minuteMs, 15 * minuteMs]
export const degradesMs = [5_000, 10_000, 30_000, minuteMs]

export const defaultFields = {
  windowMs: 7 * dayMs,
  lagMsMax: minuteMs,
  exclude: [],
  isZeroLoss: false,
  degradeMs: 10_000,
}

/** What the vault is asked for. */
export function requestOf(choice: Choice, fields: PolicyFields, agent: string): SourceRequest {
  const { name, system, windowMs, lagMsMax, exclude } = fields
  const common = {
    name,
    kind: choice.kind,
    agent,
    ...(system === undefined || system === '' ? {} : { system }),
    policy: { windowMs, lagMsMax },
  }
  const zeroLoss = fields.isZeroLoss
    ? { zeroLoss: fields.degradeMs === null ? {} : { degradeMs: fields.degradeMs } }
    : {}
  switch (choice.kind) {
    case 'files':
      return { ...common, paths: [...choice.paths], exclude: [...exclude] }
    case 'postgres':
      return { ...common, postgres: { url: choice.url, ...zeroLoss } }
    case 'volume':
      return { ...common, volume: { backing: choice.backing, ...zeroLoss } }
  }
}

/** What it is, as its server knows it. */
export function whatOf(choice: Choice): string {
  switch (choice.kind) {
    case 'files':
      return choice.paths.join(', ')
    case 'postgres':
      return choice.url
    case 'volume':
      return choice.backing
  }
}

/** A name that is likely to be the one wanted: the server's, and what stands last in the path, in letters that names have. */
export function proposedName(choice: Choice, server: string): string {
  const path = choice.kind === 'files' ? choice.paths[0] : whatOf(choice)
  const last = choice.kind === 'postgres' ? 'postgres' : (/([^/]+)\/*$/.exec(path ?? '')?.[1] ?? 'root')
  return `${server}-${last}`.replaceAll(/[^\p{L}\p{N}._-]/gu, '-').slice(0, 63)
}

/** What the vault takes as a name. */
export const namePattern = /^[\p{L}\p{N}][\p{L}\p{N}._-]{0,62}$/u

export const keyOf = (choice: Choice): string => JSON.stringify(choice)
