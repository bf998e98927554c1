import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { Command } from 'commander'
import type { ApiClient } from '../api/client.ts'
import { TidemarkError } from '../base/errors.ts'
import { socketApiClient } from '../wire/http-client.ts'
import type { Parts } from './parts.ts'

/** Where things stand unless told: /var/lib/tidemark for root, else ~/.local/share/tidemark. */
export function homeDirectory({ environment, isRoot }: Pick<Parts, 'environment' | 'isRoot'>): string {
  return (
    environment['TIDEMARK_HOME'] ??
    (isRoot ? '/var/lib/tidemark' : join(environment['HOME'] ?? '.', '.local/share/tidemark'))
  )
}

export const vaultDirectory = (parts: Pick<Parts, 'environment' | 'isRoot'>): string =>
  join(homeDirectory(parts), 'vault')
export const agentDirectory = (parts: Pick<Parts, 'environment' | 'isRoot'>): string =>
  join(homeDirectory(parts), 'agent')
export const socketName = 'api.sock'

/**
 * The API a command speaks to: `--vault DIR` or `--agent DIR` where given, TIDEMARK_SOCKET, else the agent of this
 * server, else the vault of this machine.
 */
export const connect = (command: Command, parts: Parts): ApiClient => socketApiClient(apiSocket(command, parts))

/** The path of that API's socket. */
export function apiSocket(command: Command, parts: Parts): string {
  const { vault, agent } = command.optsWithGlobals<{ vault?: string; agent?: string }>()
  const given = vault ?? agent
  if (given !== undefined) return resolve(given, socketName)
  const socket =
    parts.environment['TIDEMARK_SOCKET'] ??
    [agentDirectory(parts), vaultDirectory(parts)].map((directory) => join(directory, socketName)).find(existsSync)
  if (socket === undefined) {
    throw new TidemarkError('not-running', {
      message: `no agent or vault runs below ${homeDirectory(parts)}`,
      hint: 'start one ("tidemark vault run", "tidemark agent run"), or name its directory with --vault or --agent',
    })
  }
  return socket
}
