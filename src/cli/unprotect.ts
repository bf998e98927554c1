import type { Command } from 'commander'
import { z } from 'zod'
import type { ApiClient } from '../api/client.ts'
import { problem, type SourceStatus } from '../api/schemas.ts'
import { isCode, TidemarkError } from '../base/errors.ts'
import { releaseSql } from '../capture/postgres/release.ts'
import { slotOf } from '../capture/postgres/slot.ts'
import { connect } from './connect.ts'
import { exitStatusHelp, type Parts } from './parts.ts'
import { statusOf } from './postgres.ts'

interface UnprotectOptions {
  again?: boolean
  force?: boolean
  json?: boolean
}

export function unprotectCommand(program: Command, parts: Parts): void {
  program
    .command('unprotect')
    .argument('<source>')
    .description('end the protection; its history stays restorable for its window')
    .option('--again', 'of one that is unprotected already: try once more to take back what is set at its server')
    .option('--force', 'of one that is unprotected already: forget what is still set at a server that is gone')
    .option('--json', 'one JSON object')
    .addHelpText(
      'after',
      `
What the protection has set at a database server is taken back by the agent: its slot, and its name in
synchronous_standby_names. A server that is away is tried for an hour; then "tidemark status" tells what is left, with the
statements to give there. --again and --force are given on the server of the agent.

Examples:
  tidemark unprotect documents
  tidemark unprotect orders --force
${exitStatusHelp}`,
    )
    .action(async (name: string, options: UnprotectOptions, command: Command) => {
      const client = connect(command, parts)
      const done = options.again || options.force ? await unreleased(client, name, options) : await end(client, name)
      parts.out.write(options.json ? `${JSON.stringify({ name, ...done.json })}\n` : `${done.text}\n`)
    })
}

interface Done {
  readonly text: string
  readonly json: Record<string, unknown>
}

async function end(client: ApiClient, name: string): Promise<Done> {
  const source = await statusOf(client, name)
  await client.json('DELETE', `/v1/sources/${encodeURIComponent(name)}`, z.unknown())
  const byHand = source.kind === 'postgres' ? releaseSql(source) : undefined
  return {
    text: `${name} is no longer protected${byHand === undefined ? '' : describe(source, byHand)}`,
    json: { done: 'unprotect', ...(byHand === undefined ? {} : { byHand }) },
  }
}

const describe = (source: SourceStatus, byHand: string): string =>
  `
its agent takes back what it has set at the server: the slot ${slotOf(source)}, and that name in synchronous_standby_names;
"tidemark status ${source.name}" tells what could not be taken back. By hand, at each member of the cluster:
${byHand}`

/** What the agent could not take back. */
async function unreleased(client: ApiClient, name: string, { force }: UnprotectOptions): Promise<Done> {
  const word = force ? 'forget' : 'again'
  const path = `/agent/releases/${encodeURIComponent(name)}/${word}`
  await requireAgent(client, name)
  const { left } = await client.json('POST', path, z.object({ left: z.array(problem) }))
  if (!force) return { text: `it is tried again; "tidemark status ${name}" tells how it goes`, json: { done: word } }
  const hints = left.map(({ message, hint }) => [message, hint].filter(Boolean).join('\n'))
  return { text: [`${name} is forgotten by this agent`, ...hints].join('\n'), json: { done: word, left } }
}

async function requireAgent(client: ApiClient, name: string): Promise<void> {
  try {
    await client.json('GET', '/agent', z.unknown())
  } catch (error) {
    if (!isCode(error, 'not-found')) throw error
    throw new TidemarkError('bad-request', {
      message: `only the agent that protected ${name} can do that, and this is a vault`,
      hint: 'give the command on the server of the agent, or with --agent DIR',
      cause: error,
    })
  }
}
