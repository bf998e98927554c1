import { realpathSync, statSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Command } from 'commander'
import { z } from 'zod'
import { sourceStatus, type SourceRequest } from '../api/schemas.ts'
import { isSystemError, TidemarkError } from '../base/errors.ts'
import { connect } from './connect.ts'
import { duration } from './option-values.ts'
import { exitStatusHelp, type Parts } from './parts.ts'
import { protectPostgresCommand } from './protect-postgres.ts'
import { protectVolumeCommand } from './protect-volume.ts'
import { unprotectCommand } from './unprotect.ts'

interface ProtectOptions {
  name: string
  system?: string
  exclude: string[]
  window?: string
  reconcile?: string
  lag?: string
  on?: string
  json?: boolean
}

const collect = (value: string, before: string[]): string[] => [...before, value]

export function protectCommand(program: Command, parts: Parts): void {
  const protect = program.command('protect').description('begin to protect something of this server')
  protect
    .command('files')
    .argument('<paths...>', 'directories or files')
    .description('every change of directories and files')
    .requiredOption('--name <name>', 'what to call this source')
    .option('--system <name>', 'the business system it belongs to')
    .option('--exclude <pattern>', "not what matches (gitignore's syntax); may be repeated", collect, [])
    .option('--window <duration>', 'how far back every change is kept (30m, 12h, 7d)', '7d')
    .option('--reconcile <duration>', 'time between full comparisons', '1h')
    .option('--lag <duration>', 'lag above which it counts as late', '1m')
    .option('--on <agent>', 'the server to protect, when given at the vault; on a protected server it is that one')
    .option('--json', 'one JSON object')
    .addHelpText(
      'after',
      `
Examples:
  tidemark protect files /srv/docs --name documents --window 30d
  tidemark protect files /var/www /etc/nginx --name web-files --system public-web --exclude '*.tmp' --exclude cache/
${exitStatusHelp}`,
    )
    .action(async (paths: string[], options: ProtectOptions, command: Command) => {
      const request: SourceRequest = {
        name: options.name,
        kind: 'files',
        ...(options.on === undefined ? {} : { agent: options.on }),
        ...(options.system === undefined ? {} : { system: options.system }),
        paths: options.on === undefined ? paths.map(existingPath) : paths,
        exclude: options.exclude,
        policy: {
          windowMs: duration('--window', options.window),
          reconcileMs: duration('--reconcile', options.reconcile),
          lagMsMax: duration('--lag', options.lag),
        },
      }
      const source = await connect(command, parts).json('POST', '/v1/sources', sourceStatus, request)
      parts.out.write(
        options.json
          ? `${JSON.stringify(source)}\n`
          : `${source.name} is protected by ${source.agent.name}; "tidemark status --watch" shows the baseline\n`,
      )
    })
  protectPostgresCommand(protect, parts)
  protectVolumeCommand(protect, parts)
}

/** The path without links, so that what is protected is where it really stands. */
function existingPath(path: string): string {
  try {
    statSync(path)
    return realpathSync(resolve(path))
  } catch (error) {
    if (!isSystemError(error, 'ENOENT', 'ENOTDIR')) throw error
    throw new TidemarkError('not-found', {
      message: `${path} does not exist on this server`,
      hint: 'give the path of a directory or file',
      cause: error,
    })
  }
}

export function controlCommands(program: Command, parts: Parts): void {
  unprotectCommand(program, parts)
  const control = (
    word: string,
    description: string,
    done: string,
    act: (name: string) => ['POST' | 'DELETE', string],
  ): void => {
    program
      .command(word)
      .argument('<source>')
      .description(description)
      .option('--json', 'one JSON object')
      .addHelpText('after', `\nExample:\n  tidemark ${word} documents\n${exitStatusHelp}`)
      .action(async (name: string, options: { json?: boolean }, command: Command) => {
        const [method, path] = act(encodeURIComponent(name))
        await connect(command, parts).json(method, path, z.unknown())
        parts.out.write(options.json ? `${JSON.stringify({ name, done: word })}\n` : `${name} ${done}\n`)
      })
  }
  control('pause', 'capture nothing until "resume"; nothing waits for the vault meanwhile', 'is paused', (name) => [
    'POST',
    `/v1/sources/${name}/pause`,
  ])
  control('resume', 'go on after "pause"', 'goes on', (name) => ['POST', `/v1/sources/${name}/resume`])
  control('reconcile', 'compare everything with the source now', 'is being compared', (name) => [
    'POST',
    `/v1/sources/${name}/reconcile`,
  ])
}
