import { z } from 'zod'
import { vaultEvent } from './events.ts'
import { sourceKinds } from '../model/source.ts'
import { isoMoment, sourceState } from './schemas.ts'
import { taskState } from './tasks.ts'

/**
 * The console's own HTTP API, below `/api`. What concerns one vault goes to that vault under `/api/vaults/VAULT/v1/…`, as its own
 * API has it; `docs/decisions/0010-console.md` says who may do what.
 */

export const roles = [
  'system-administrator',
  'security-administrator',
  'audit-administrator',
  'operator',
  'viewer',
] as const
export const role = z.enum(roles)
export type Role = z.infer<typeof role>

/** What a role may be allowed. One role has several; docs/decisions/0010-console.md has the table. */
export const actions = [
  'see',
  'contents',
  'mark',
  'verify',
  'restore',
  'acknowledge',
  'servers',
  'protect',
  'vaults',
  'channels',
  'users',
  'audit',
] as const
export const action = z.enum(actions)
export type Action = z.infer<typeof action>

export const languages = ['zh-CN', 'en'] as const
export const language = z.enum(languages)

export const userName = z.string().regex(/^[\p{L}\p{N}][\p{L}\p{N}._-]{0,62}$/u)
export const password = z.string().min(1).max(256)

export const signInRequest = z.object({
  user: userName,
  password,
  code: z
    .string()
    .regex(/^\d{6}$/)
    .optional()
    .describe('of the authenticator, where the account has one'),
})

export const me = z.object({
  user: z.string(),
  role,
  csrf: z.string().describe('goes into x-tidemark-csrf of every change'),
  hasTotp: z.boolean(),
  mustChangePassword: z.boolean(),
  actions: z.array(action).describe('what the role may do'),
})
export type Me = z.infer<typeof me>

export const passwordChange = z.object({ old: password, new: password })
export const totpBegun = z.object({ secret: z.string(), uri: z.string().describe('otpauth://…') })
export const totpConfirm = z.object({ code: z.string().regex(/^\d{6}$/) })

/** A vault as this console knows it. */
export const vaultEntry = z.object({
  id: z.string(),
  name: z.string(),
  url: z.string(),
  site: z.string().optional(),
  connected: z.boolean(),
  since: isoMoment.nullable().describe('connected or away since'),
  error: z.string().optional(),
})
export type VaultEntry = z.infer<typeof vaultEntry>
export const addVaultRequest = z.object({
  url: z.string().min(1).max(300).describe('HOST:PORT'),
  token: z.string().min(1).max(2000),
  site: z.string().max(63).optional(),
})
/** Where servers stand, for the topology: agent id to site. */
export const sites = z.object({
  vaults: z.record(z.string(), z.string().max(63)),
  agents: z.record(z.string(), z.string().max(63)),
})

/** Worst first. */
export const severities = ['critical', 'warning', 'information'] as const
export type Severity = (typeof severities)[number]
export const alarmRules = [
  'vault-away',
  'vault-full',
  'vault-damaged',
  'vault-fills',
  'agent-gone',
  'certificate-ends',
  'source-stalled',
  'source-late',
  'source-damaged',
  'source-vanished',
  'source-paused',
  'source-problem',
  'hole',
  'slot-near-limit',
  'verification-failed',
  'verification-old',
] as const
export const alarmRule = z.enum(alarmRules)
export type AlarmRule = z.infer<typeof alarmRule>

export const alarm = z.object({
  id: z.string(),
  number: z.int().describe('grows with each alarm that is raised'),
  rule: alarmRule,
  severity: z.enum(severities),
  vault: z.string(),
  system: z.string().optional(),
  source: z.string().optional(),
  agent: z.string().optional(),
  /** Values for the sentence of the rule in the language file. */
  values: z.record(z.string(), z.union([z.string(), z.number()])),
  message: z.string().describe('in English, as it is sent where no language is known'),
  hint: z.string().describe('the next step'),
  began: isoMoment,
  ended: isoMoment.nullable(),
  acknowledged: z.object({ by: z.string(), at: isoMoment }).optional(),
  silenced: z
    .object({ by: z.string(), until: isoMoment })
    .optional()
    .describe('not sent, nor what is raised of it until then'),
})
export type Alarm = z.infer<typeof alarm>
/** Also of what is raised again meanwhile. */
export const silenceRequest = z.object({ minutes: z.int().min(1).max(43_200) })
export const alarmsRequest = z.object({
  open: z.stringbool().optional().describe('true: those that last; false: those that are over'),
  from: isoMoment.optional().describe('that lasted at or after'),
  to: isoMoment.optional().describe('that had begun by'),
  severity: z.enum(severities).optional(),
  rule: alarmRule.optional(),
  vault: z.string().optional(),
  system: z.string().optional(),
  text: z.string().max(200).optional().describe('in the names of what it is about, or in its sentence'),
  before: z.coerce.number().int().optional().describe('`number` of the last one of the page before'),
  limit: z.coerce.number().int().min(1).max(500).default(100),
})

/** Of everything (`system` absent) or of one system. */
export const thresholds = z.object({
  system: z.string().optional(),
  lagMsMax: z.int().min(1000).optional().describe('absent: as the policy of the source has it'),
  agentGoneMs: z.int().min(1000),
  certificateDays: z.int().min(1),
  fullDays: z.int().min(1).describe('alarm when the vault will be full sooner'),
  verificationDays: z.int().min(1).describe('alarm when the last good verification is older'),
})
export type Thresholds = z.infer<typeof thresholds>
export const thresholdsAnswer = z.object({
  everything: thresholds.describe('where a system has none of its own'),
  systems: z.array(thresholds),
})

const channelCommon = {
  id: z.string(),
  name: z.string().min(1).max(63),
  language,
  severities: z.array(z.enum(severities)).min(1),
  enabled: z.boolean(),
  authority: z
    .string()
    .max(64 * 1024)
    .optional()
    .describe("PEM of the authority of the receiver's certificate, where the system does not know it"),
}
const smtpCommon = {
  kind: z.literal('smtp'),
  host: z.string().min(1).max(255),
  port: z.int().min(1).max(65_535),
  tls: z.enum(['implicit', 'starttls', 'none']),
  user: z.string().max(255).optional(),
  from: z.string().min(3).max(320),
  to: z.array(z.string().min(3).max(320)).min(1).max(50),
}
export const hookKinds = ['webhook', 'wecom', 'dingtalk', 'feishu'] as const
const hookKind = z.enum(hookKinds)

export const channelState = z.object({
  waiting: z.int().describe('messages that were not taken yet'),
  tries: z.int().describe('how often the first of them was tried'),
  nextTry: isoMoment.nullable(),
  lastSent: isoMoment.nullable(),
  lastError: z.string().nullable().describe('why the last try failed; null after one that did not'),
})
/** As it is told: secrets never are, and the address of a hook is one; of it the host is told. */
export const channel = z.discriminatedUnion('kind', [
  z.object({ ...channelCommon, ...smtpCommon, hasSecret: z.boolean(), state: channelState }),
  z.object({ ...channelCommon, kind: hookKind, host: z.string(), hasSecret: z.boolean(), state: channelState }),
])
export type Channel = z.infer<typeof channel>

const { id: _id, ...channelSettings } = channelCommon
const secret = z.string().max(4096).optional().describe('absent: as it is; empty: none')
/** Of a new channel, or in place of what a channel was; a `secret` or `url` that is left out stays. */
export const channelRequest = z.discriminatedUnion('kind', [
  z.object({
    ...channelSettings,
    ...smtpCommon,
    secret: secret.describe('the password; absent: as it is; empty: none'),
  }),
  z.object({
    ...channelSettings,
    kind: hookKind,
    url: z
      .url({ protocol: /^https?$/ })
      .max(2048)
      .optional(),
    secret,
  }),
])
export type ChannelRequest = z.infer<typeof channelRequest>
export const channelTested = z.object({
  taken: z.boolean(),
  ms: z.number().describe('how long it took'),
  error: z.object({ code: z.string(), message: z.string(), hint: z.string().optional() }).optional(),
})

export const user = z.object({
  name: userName,
  role,
  enabled: z.boolean(),
  hasTotp: z.boolean(),
  mustChangePassword: z.boolean(),
  created: isoMoment,
  lastSignIn: isoMoment.nullable(),
})
export type User = z.infer<typeof user>
export const newUser = z.object({ name: userName, role })
export const userChange = z.object({
  role: role.optional(),
  enabled: z.boolean().optional(),
  resetPassword: z.literal(true).optional().describe('make a new one, told in the answer and to be changed at sign-in'),
  resetTotp: z.literal(true).optional().describe('forget the authenticator, which is lost'),
})
export const userAnswer = z.object({
  user,
  password: z.string().optional().describe('where one was made: told here and nowhere else'),
})

/** What may stand as the action of a record that is written now; older records may have others. */
export const auditActions = [
  ...actions,
  // Of a vault, more exactly than the right that it takes:
  'browse',
  'search',
  'versions',
  'compare',
  'download',
  'download-folder',
  'change-source',
  'unprotect',
  'pause',
  'resume',
  'reconcile',
  'limits',
  'revoke',
  'token',
  'preflight',
  'discover',
  'baseline',
  'cancel-task',
  'resume-task',
  // Of the console:
  'silence',
  'thresholds',
  'sign-in',
  'sign-out',
  'sign-out-everywhere',
  'password',
  'totp-begin',
  'totp-on',
  'totp-off',
  'audit-export',
  'audit-verify',
  'audit-trim',
  // Of what is refused before it is known what it is:
  'open',
  'own',
  'signed-in',
] as const
export type AuditAction = (typeof auditActions)[number]

export const auditRecord = z.object({
  number: z.int(),
  at: isoMoment,
  user: z.string().nullable(),
  address: z.string(),
  action: z.string(),
  subject: z.string(),
  outcome: z.enum(['done', 'refused', 'failed']),
  detail: z.string(),
  hash: z.string(),
})
export type AuditRecord = z.infer<typeof auditRecord>
export const auditRequest = z.object({
  from: isoMoment.optional(),
  to: isoMoment.optional(),
  user: z.string().optional(),
  text: z.string().max(200).optional(),
  before: z.coerce.number().int().optional().describe('records older than this number'),
  limit: z.coerce.number().int().min(1).max(1000).default(100),
})
export const auditFormats = ['csv', 'jsonl'] as const
export const auditExportRequest = auditRequest
  .pick({ from: true, to: true, user: true, text: true })
  .extend({ format: z.enum(auditFormats).default('csv') })
export const auditVerification = z.object({
  records: z.int(),
  intact: z.boolean(),
  firstBroken: z.int().nullable(),
  lastHash: z.string(),
})

/** One month (UTC) of one system, as measured at its vaults. */
export const reportMonth = z.string().regex(/^20\d{2}-(0[1-9]|1[0-2])$/)
export const report = z.object({
  system: z.string(),
  month: reportMonth,
  from: isoMoment,
  until: isoMoment.describe('the end of the month, or now'),
  made: isoMoment,
  missing: z
    .array(z.object({ vault: z.string(), source: z.string(), reason: z.string() }))
    .describe('what could not be asked: the report is without it'),
  sources: z.array(
    z.object({
      name: z.string(),
      vault: z.string(),
      kind: z.enum(sourceKinds),
      lagMsMax: z.int().describe('what the policy allows now'),
      secondsExpected: z.int().describe('from when it was first measured'),
      secondsMeasured: z.int().describe('of them, looked at by the vault'),
      unknownSeconds: z.int().describe('of the measured, without a known lag'),
      lateSeconds: z.int(),
      lagMs: z.object({
        p50: z.number().nullable(),
        p95: z.number().nullable(),
        p99: z.number().nullable(),
        max: z.number().nullable(),
      }),
      lagClasses: z.array(z.int()).describe('seconds in each class of src/api/measures.ts'),
      days: z.array(
        z.object({
          at: isoMoment,
          seconds: z.int(),
          lateSeconds: z.int(),
          p50: z.number().nullable(),
          p99: z.number().nullable(),
          max: z.number().nullable(),
        }),
      ),
      changes: z.int(),
      bytes: z.int(),
      holes: z.array(z.object({ from: isoMoment, until: isoMoment.nullable(), reason: z.string() })),
      verifications: z.array(
        z.object({ at: isoMoment, moment: isoMoment, good: z.boolean(), text: z.string(), by: z.string() }),
      ),
    }),
  ),
  restores: z
    .array(
      z.object({
        vault: z.string(),
        source: z.string(),
        to: z.string(),
        by: z.string(),
        state: taskState,
        began: isoMoment,
        ended: isoMoment.nullable(),
        seconds: z.number().nullable(),
        bytes: z.int().nullable(),
      }),
    )
    .describe('of those that the vaults still keep'),
  alarms: z.array(alarm),
})
export type Report = z.infer<typeof report>
export const reportRequest = z.object({
  language: language.default('en').describe('of the headings of a CSV'),
})

/** What `GET /api/live` sends, as server-sent events: the field `data` is one of these. */
export const liveEvent = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('hello'), now: isoMoment, vaults: z.array(vaultEntry), alarms: z.array(alarm) }),
  z.object({ kind: z.literal('vault'), vault: z.string(), event: vaultEvent }),
  z.object({ kind: z.literal('connection'), entry: vaultEntry }),
  z.object({ kind: z.literal('vault-removed'), vault: z.string() }),
  z.object({ kind: z.literal('alarm'), alarm }),
  z.object({ kind: z.literal('heartbeat'), now: isoMoment }),
])
export type LiveEvent = z.infer<typeof liveEvent>

/** Worst first: what decides the colour of a system. */
export const worstFirst: readonly z.infer<typeof sourceState>[] = [
  'damaged',
  'stalled',
  'vanished',
  'offline',
  'late',
  'reconciling',
  'baseline',
  'waiting',
  'paused',
  'protected',
  'retired',
]
