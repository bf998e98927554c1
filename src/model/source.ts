import type { Moment } from './moment.ts'

/** 16 random bytes as 32 hexadecimal digits; names a source, an agent or a vault for ever. */
export type Id = string & { readonly is: 'Id' }

export const isId = (text: string): text is Id => /^[0-9a-f]{32}$/.test(text)

/** What users call a source, an agent or a system: 1 to 63 letters, digits, '-', '_', '.', from any script. */
export const namePattern = /^[\p{L}\p{N}][\p{L}\p{N}._-]{0,62}$/u

export const sourceKinds = ['files', 'postgres', 'volume'] as const
export type SourceKind = (typeof sourceKinds)[number]

/** One protected thing, as the vault keeps it and tells it to the agent. */
export interface SourceDefinition {
  readonly id: Id
  readonly name: string
  readonly kind: SourceKind
  /** The agent that protects it. */
  readonly agent: Id
  /** The business system it belongs to. */
  readonly system?: string | undefined
  /** Absolute paths on the protected server, UTF-8 (kind `files`). */
  readonly paths: readonly string[]
  /** Patterns in gitignore's syntax, relative to each protected path (kind `files`). */
  readonly exclude: readonly string[]
  /** Of kind `postgres`, and only of it. */
  readonly postgres?: PostgresSettings | undefined
  /** Of kind `volume`, and only of it. */
  readonly volume?: VolumeSettings | undefined
  readonly policy: Policy
  readonly paused: boolean
  /** When its protection ended. It is no longer captured, and forgotten once its history has left the window. */
  readonly retired?: Moment | undefined
}

export interface PostgresSettings {
  /** `postgres://user@host:port/database?sslmode=…`, several hosts for a pair; never with a password. */
  readonly url: string
  /** Time between baselines. */
  readonly baselineMs: number
  /** Most bytes per second of a baseline; absent: no limit. */
  readonly baselineBytesPerSecond?: number | undefined
  /** WAL kept on the server for a vault that cannot be reached; beyond it the slot is given up and the hole recorded. */
  readonly walKeptBytesMax: number
  /** A commit waits for the vault. Absent: it does not. */
  readonly zeroLoss?: ZeroLoss | undefined
}

export interface ZeroLoss {
  /** Commits go on without the vault after so long, and the span is recorded; absent: they wait for ever. */
  readonly degradeMs?: number | undefined
}

/** How a volume is served; what is written to it is what is protected. */
export interface VolumeSettings {
  /** Absolute path of the block device or file that holds its bytes. */
  readonly backing: string
  /** Bytes; a file is made or grown to it. Absent: what the backing has. A volume never shrinks. */
  readonly bytes?: number | undefined
  /** Writes kept on the server for a vault that cannot be reached; beyond it the hole is recorded. */
  readonly logBytesMax: number
  /** `host:port` to be served at over TLS, beside the local socket. */
  readonly listen?: string | undefined
  /** A flush waits for the vault. Absent: it does not. */
  readonly zeroLoss?: ZeroLoss | undefined
}

export const defaultVolume: Omit<VolumeSettings, 'backing'> = { logBytesMax: 10 * 1024 ** 3 }

export const defaultPostgres: Omit<PostgresSettings, 'url'> = {
  baselineMs: 86_400_000,
  walKeptBytesMax: 10 * 1024 ** 3,
}

export interface Policy {
  /** How far back every single change is kept. */
  readonly windowMs: number
  /** Seconds between full comparisons with the source; also done at every start. */
  readonly reconcileMs: number
  /** Lag above which the source counts as late. */
  readonly lagMsMax: number
}

export const defaultPolicy: Policy = { windowMs: 7 * 86_400_000, reconcileMs: 3_600_000, lagMsMax: 60_000 }

/** All of a volume is read for it. */
const defaultReconcileMs: Readonly<Partial<Record<SourceKind, number>>> = { volume: 7 * 86_400_000 }

export const defaultPolicyOf = (kind: SourceKind): Policy => ({
  ...defaultPolicy,
  reconcileMs: defaultReconcileMs[kind] ?? defaultPolicy.reconcileMs,
})
