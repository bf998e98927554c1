import type { Command } from 'commander'
import { z } from 'zod'
import { agentDetails, type AgentDetails } from '../api/tasks.ts'
import { TidemarkError } from '../base/errors.ts'
import type { BandwidthLimit } from '../model/bandwidth.ts'
import { formatMoment } from '../model/moment.ts'
import { connect } from './connect.ts'
import { formatBytes, formatDurationMs, formatTable } from './format.ts'
import { byteRate } from './option-values.ts'
import { exitStatusHelp, type Parts } from './parts.ts'
import { isoToMoment } from './points.ts'
import { doTask } from './tasks.ts'

const days = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat']

export function agentsCommand(program: Command, parts: Parts): void {
  const agents = program
    .command('agents')
    .argument('[name]', 'one of them, in full')
    .description('the enrolled servers; with --revoke, admit one no more')
    .option('--revoke <name>', 'refuse this agent from now on; its journals stay')
    .option('--json', 'one JSON object a line')
    .addHelpText(
      'after',
      `\nExamples:\n  tidemark agents\n  tidemark agents web-server\n  tidemark agents --revoke old-web-server\n${exitStatusHelp}`,
    )
    .action(async (name: string | undefined, options: { json?: boolean; revoke?: string }, command: Command) => {
      const client = connect(command, parts)
      if (options.revoke !== undefined) await client.json('POST', `${pathOf(options.revoke)}/revoke`, z.unknown())
      if (name !== undefined) return tell(await client.json('GET', pathOf(name), agentDetails), options.json, parts)
      const all = await client.json('GET', '/v1/agents', z.array(agentDetails))
      if (options.json) for (const agent of all) parts.out.write(`${JSON.stringify(agent)}\n`)
      else parts.out.write(describeAll(all))
    })

  agents
    .command('limit')
    .argument('<name>')
    .argument('[rules...]', '"[DAYS ]FROM-TO=RATE": the first that fits holds, else there is no limit; none: no limits')
    .description('how many bytes a second a server may send, by time of day there')
    .option('--json', 'one JSON object')
    .addHelpText(
      'after',
      `
It holds at once while the server is connected, and is kept at the vault. Limits in the agent's own settings.json stay beside it:
where both limit, the lower holds. A time over midnight belongs to the day it begins on.

Examples:
  tidemark agents limit web-server "mon-fri 08:00-18:00=2MiB/s" "00:00-24:00=20MiB/s"
  tidemark agents limit web-server
${exitStatusHelp}`,
    )
    .action(async (name: string, rules: string[], _options: unknown, command: Command) => {
      const limits = rules.map(parseLimit)
      const changed = await connect(command, parts).json('PATCH', pathOf(name), agentDetails, { limits })
      tell(changed, command.optsWithGlobals<{ json?: boolean }>().json, parts)
    })

  agents
    .command('discover')
    .argument('<name>')
    .description('ask a server what there is to protect on it, as a task')
    .option('--json', 'one JSON object a line: the task as it changes, and at its end')
    .addHelpText('after', `\nExample:\n  tidemark agents discover web-server --json\n${exitStatusHelp}`)
    .action(async (name: string, _options: unknown, command: Command) => {
      const json = command.optsWithGlobals<{ json?: boolean }>().json ?? false
      const { result } = await doTask(connect(command, parts), { kind: 'discover', agent: name }, json, parts)
      if (!json && result?.discovered !== undefined)
        parts.out.write(`${JSON.stringify(result.discovered, undefined, 2)}\n`)
    })
}

const pathOf = (name: string): string => `/v1/agents/${encodeURIComponent(name)}`

/** `[DAYS ]FROM-TO=RATE`, DAYS as `mon`, `mon-fri` or `sat,sun`. */
export function parseLimit(text: string): BandwidthLimit {
  const [, wanted, from, to, rate] =
    /^(?:([a-z,-]+) )?([0-2]\d:[0-5]\d)-([0-2]\d:[0-5]\d)=(\S+)$/.exec(text.toLowerCase().trim()) ?? []
  if (from === undefined || to === undefined || rate === undefined) throw notALimit(text)
  const bytesPerSecond = byteRate('RATE', text.slice(text.lastIndexOf('=') + 1).trim())
  if (bytesPerSecond === undefined) throw notALimit(text)
  const on = wanted?.split(',').flatMap((span) => daysIn(span, text))
  return { from, to, bytesPerSecond, ...(on === undefined ? {} : { days: [...new Set(on)].sort() }) }
}

function daysIn(span: string, text: string): number[] {
  const [first, last = first] = span.split('-').map((day) => days.indexOf(day))
  if (first === undefined || last === undefined || first < 0 || last < 0) throw notALimit(text)
  const count = ((last - first + 7) % 7) + 1
  return Array.from({ length: count }, (_, index) => (first + index) % 7)
}

const notALimit = (text: string): TidemarkError =>
  new TidemarkError('bad-request', {
    message: `"${text}" is no limit`,
    hint: 'write it as "mon-fri 08:00-18:00=2MiB/s" or "22:00-06:00=500KiB/s"',
  })

function describeLimit({ from, to, days: on, bytesPerSecond }: AgentDetails['limits'][number]): string {
  const told = on === undefined ? '' : `${on.map((day) => days[day]).join(',')} `
  return `${told}${from}-${to}=${formatBytes(bytesPerSecond)}/s`
}

const stateOf = ({ revoked, connected }: AgentDetails): string =>
  revoked ? 'revoked' : connected ? 'connected' : 'not connected'

function describeAll(all: readonly AgentDetails[]): string {
  return formatTable(
    ['AGENT', 'STATE', 'RATE', 'LIMIT', 'BEHIND', 'SOURCES'],
    all.map((agent) => [
      agent.name,
      stateOf(agent),
      `${formatBytes(agent.bytesPerSecond)}/s`,
      agent.limitNow === null ? '-' : `${formatBytes(agent.limitNow)}/s`,
      formatBytes(agent.backlogBytes),
      agent.sources.join(', '),
    ]),
    [2, 3, 4],
  )
}

function tell(agent: AgentDetails, json: boolean | undefined, parts: Parts): void {
  if (json === true) return parts.out.write(`${JSON.stringify(agent)}\n`)
  const when = (iso: string | null): string => (iso === null ? 'not known' : formatMoment(isoToMoment(iso)))
  const { roundTripMs, secondsToCatchUp, limitNow, limits, limitsOnServer } = agent
  const lines = [
    `agent ${agent.name} (${agent.id}): ${stateOf(agent)}`,
    `  software: ${agent.software ?? 'not known since this vault was started'}`,
    `  last contact: ${when(agent.lastContact)}${agent.address === null ? '' : `, from ${agent.address}`}`,
    `  certificate ends: ${when(agent.certificateExpires)}`,
    `  round trip: ${roundTripMs === null ? 'not known' : formatDurationMs(roundTripMs)}`,
    `  sends: ${formatBytes(agent.bytesPerSecond)}/s${limitNow === null ? '' : `, at most ${formatBytes(limitNow)}/s now`}`,
    `  behind: ${formatBytes(agent.backlogBytes)}${secondsToCatchUp === null || secondsToCatchUp === 0 ? '' : `, ${formatDurationMs(secondsToCatchUp * 1000)} to catch up`}`,
    ...(limits.length === 0 ? [] : [`  limits: ${limits.map(describeLimit).join('; ')}`]),
    ...(limitsOnServer.length === 0 ? [] : [`  limits of its own: ${limitsOnServer.map(describeLimit).join('; ')}`]),
    `  sources: ${agent.sources.join(', ') || 'none'}`,
  ]
  parts.out.write(`${lines.join('\n')}\n`)
}
