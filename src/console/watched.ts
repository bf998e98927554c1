import type { Watched } from '../monitoring/watched.ts'
import { softwareVersion } from '../wire/software.ts'
import type { Context } from './context.ts'
import type { ConsoleMetrics } from './metrics.ts'

/** A console does its work while it reaches its vaults. */
export const watchedConsole = (context: Context, metrics: ConsoleMetrics): Watched => ({
  identity: () => ({ process: 'console', name: 'console', version: softwareVersion }),
  metrics: () => metrics.tell(context),
  reasons: () =>
    context.federation
      .entries()
      .filter(({ connected }) => !connected)
      .map(({ name, url, error }) => ({
        code: 'unreachable',
        message: `vault ${name} (${url}) is away${error === undefined ? '' : `: ${error}`}`,
        hint: 'look at the vault and at the line to it; what is protected there goes on meanwhile',
      })),
})
