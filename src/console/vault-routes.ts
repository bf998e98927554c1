import type { Action, AuditAction } from '../api/console.ts'
import type { TaskBody } from '../api/tasks.ts'

/**
 * What of a vault's API is passed on, below `/api/vaults/VAULT`, and which action it is; nothing else is. A route that a vault
 * gains for the console is entered here by who adds it.
 */
export interface VaultRoute {
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE'
  /** As the vault's own API has it. */
  readonly path: string
  /** `by-task`: as the kind of the task asks, see `taskActions`. */
  readonly action: Action | 'by-task'
  /** What the audit log calls it, where that says more than the action. */
  readonly deed?: AuditAction
  /** Of what only reads: who looked at what is in the audit log. Changes always are. */
  readonly isRecorded?: true
}

const source = '/v1/sources/:source'

export const vaultRoutes: readonly VaultRoute[] = [
  { method: 'GET', path: '/v1/openapi.json', action: 'see' },
  { method: 'GET', path: '/v1/status', action: 'see' },
  { method: 'GET', path: '/v1/space', action: 'see' },
  { method: 'GET', path: '/v1/measures', action: 'see' },

  { method: 'GET', path: source, action: 'see' },
  { method: 'GET', path: `${source}/point`, action: 'see' },
  { method: 'GET', path: `${source}/points`, action: 'see' },
  { method: 'GET', path: `${source}/transactions`, action: 'see' },
  { method: 'GET', path: `${source}/holes`, action: 'see' },
  { method: 'GET', path: `${source}/measures`, action: 'see' },
  { method: 'GET', path: `${source}/verifications`, action: 'see' },

  { method: 'GET', path: `${source}/around`, action: 'contents' },
  { method: 'GET', path: `${source}/search`, action: 'contents', deed: 'search', isRecorded: true },
  { method: 'GET', path: `${source}/tree`, action: 'contents', deed: 'browse', isRecorded: true },
  { method: 'GET', path: `${source}/stat`, action: 'contents' },
  { method: 'GET', path: `${source}/history`, action: 'contents', deed: 'versions', isRecorded: true },
  { method: 'GET', path: `${source}/diff`, action: 'contents', deed: 'compare', isRecorded: true },
  { method: 'GET', path: `${source}/content`, action: 'contents', deed: 'download', isRecorded: true },
  { method: 'GET', path: `${source}/archive`, action: 'contents', deed: 'download-folder', isRecorded: true },

  { method: 'POST', path: `${source}/marks`, action: 'mark' },

  { method: 'POST', path: '/v1/sources', action: 'protect' },
  { method: 'PATCH', path: source, action: 'protect', deed: 'change-source' },
  { method: 'DELETE', path: source, action: 'protect', deed: 'unprotect' },
  { method: 'POST', path: `${source}/pause`, action: 'protect', deed: 'pause' },
  { method: 'POST', path: `${source}/resume`, action: 'protect', deed: 'resume' },
  { method: 'POST', path: `${source}/reconcile`, action: 'protect', deed: 'reconcile' },
  { method: 'GET', path: `${source}/retention`, action: 'see' },

  { method: 'GET', path: '/v1/agents', action: 'see' },
  { method: 'GET', path: '/v1/agents/:agent', action: 'see' },
  { method: 'PATCH', path: '/v1/agents/:agent', action: 'servers', deed: 'limits' },
  { method: 'POST', path: '/v1/agents/:agent/revoke', action: 'servers', deed: 'revoke' },
  { method: 'POST', path: '/v1/tokens', action: 'servers', deed: 'token' },

  { method: 'GET', path: '/v1/consoles', action: 'see' },

  { method: 'GET', path: '/v1/tasks', action: 'see' },
  { method: 'GET', path: '/v1/tasks/:task', action: 'see' },
  { method: 'POST', path: '/v1/tasks', action: 'by-task' },
  { method: 'POST', path: '/v1/tasks/:task/cancel', action: 'by-task', deed: 'cancel-task' },
  { method: 'POST', path: '/v1/tasks/:task/resume', action: 'by-task', deed: 'resume-task' },
]

export const taskActions: Readonly<Record<TaskBody['kind'], Action>> = {
  restore: 'restore',
  preflight: 'restore',
  verify: 'verify',
  discover: 'protect',
  baseline: 'protect',
}
