import type { Reason, Watched } from '../monitoring/watched.ts'
import { softwareVersion } from '../wire/software.ts'
import type { AgentStatus } from './agent.ts'
import type { AgentMetrics } from './metrics.ts'
import type { ProtectionStatus } from './protect.ts'

/** An agent does its work while the vault is reached and nothing is late. */
export const watchedAgent = (status: () => AgentStatus, metrics: AgentMetrics): Watched => ({
  identity: () => ({ process: 'agent', name: status().name, version: softwareVersion }),
  metrics: () => metrics.tell(status),
  reasons: () => {
    const { connected, vault, lastError, sources } = status()
    const away: Reason = {
      code: lastError?.code ?? 'unreachable',
      message: lastError?.message ?? `the vault ${vault.host}:${vault.port} has not been reached yet`,
      hint: lastError?.hint ?? 'look at the line and at the vault; changes are kept on this server meanwhile',
    }
    const late = sources.filter(({ paused }) => !paused).flatMap((source) => reasonOf(source) ?? [])
    return connected ? late : [away, ...late]
  },
})

function reasonOf({ name, spoolFull, line, lagMs, lagMsMax, lastError }: ProtectionStatus): Reason | undefined {
  if (spoolFull)
    return {
      code: 'spool-full',
      message: `${name}: no more changes can be kept on this server: a hole in its history follows`,
      hint: 'bring back the line; or give it more room by spoolBytesMax in settings.json',
    }
  if (line === 'stalled')
    return {
      code: 'vault-full',
      message: `${name}: the vault has no room and acknowledges nothing`,
      hint: 'make room on the file system of the vault; it goes on by itself',
    }
  if (lagMs !== undefined && lagMs > lagMsMax)
    return {
      code: lastError?.code ?? 'late',
      message: `${name}: ${Math.round(lagMs / 1000)} s behind, ${lagMsMax / 1000} s are allowed${lastError === undefined ? '' : `: ${lastError.message}`}`,
      hint: lastError?.hint ?? 'look at the line: its rate, and limits of bandwidth that are in force',
    }
  return undefined
}
