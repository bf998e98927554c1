import type { Command } from 'commander'
import { type SourceStatus, vaultStatus, type VaultStatus } from '../api/schemas.ts'
import { connect } from './connect.ts'
import { formatBytes, formatCount, formatDurationMs, formatTable } from './format.ts'
import { exitStatusHelp, type Parts } from './parts.ts'

const refreshMs = 1000

export function statusCommand(program: Command, parts: Parts): void {
  program
    .command('status')
    .argument('[name]', 'one source only')
    .description(
      'every source: state, lag measured at the vault, throughput, progress, what is wrong and the next step',
    )
    .option('--json', 'one JSON object')
    .option('--watch', 'again every second, until interrupted')
    .addHelpText(
      'after',
      `
Examples:
  tidemark status
  tidemark status --watch
  tidemark status documents --json | jq .sources[0].lagMs
${exitStatusHelp}`,
    )
    .action(async (name: string | undefined, options: { json?: boolean; watch?: boolean }, command: Command) => {
      const client = connect(command, parts)
      do {
        const status = await client.json('GET', '/v1/status', vaultStatus)
        const sources = status.sources.filter((source) => name === undefined || source.name === name)
        if (options.watch && parts.out.isTerminal && !options.json) parts.out.write('\x1b[H\x1b[2J')
        parts.out.write(options.json ? `${JSON.stringify({ ...status, sources })}\n` : describe({ ...status, sources }))
        if (options.watch) await parts.clock.sleep(refreshMs, parts.signal)
      } while (options.watch)
    })
}

export function describe(status: VaultStatus): string {
  const full = status.stalled ? '  FULL: nothing is acknowledged until there is room' : ''
  const damage = status.damage.map((message) => `DAMAGE: ${message}\n`).join('')
  const head = `vault ${status.name}: ${formatBytes(status.storedBytes)} stored, ${formatBytes(status.freeBytes)} free${full}\n${damage}`
  if (status.sources.length === 0)
    return `${head}nothing is protected yet; "tidemark protect files PATH --name NAME" begins\n`
  const rows = status.sources.map((source) => [
    source.name,
    source.system ?? '',
    source.agent.name,
    source.state,
    source.lagMs === null ? '-' : formatDurationMs(source.lagMs),
    formatBytes(source.lagBytes),
    formatCount(source.dirty),
    `${formatBytes(source.bytesPerSecond)}/s`,
    formatCount(source.sequence),
    describeVerified(source, status.now),
    describeProgress(source),
  ])
  const table = formatTable(
    ['SOURCE', 'SYSTEM', 'AGENT', 'STATE', 'LAG', 'BEHIND', 'DIRTY', 'RATE', 'CHANGES', 'VERIFIED', 'PROGRESS'],
    rows,
    [4, 5, 6, 7, 8],
  )
  const problems = status.sources.flatMap((source) =>
    source.problems.map(
      ({ code, message, hint }) =>
        `${source.name}: ${message} (${code})${hint === undefined ? '' : `\n  next: ${hint}`}\n`,
    ),
  )
  return head + table + compared(status.sources) + problems.join('')
}

/** How long ago, in its largest unit. */
function describeVerified({ verified }: SourceStatus, now: string): string {
  if (verified === null) return '-'
  const ago = formatDurationMs(Math.max(Date.parse(now) - Date.parse(verified.moment), 0))
    .split(' ')
    .slice(0, 2)
  return `${verified.good ? '' : 'WRONG '}${ago.join(' ')} ago`
}

/** Of a source alone. */
function compared([source, ...others]: readonly SourceStatus[]): string {
  if (source?.kind !== 'volume' || source.compared === undefined || others.length > 0) return ''
  return `compared with its volume: last begun ${source.compared}, again every ${formatDurationMs(source.policy.reconcileMs)}\n`
}

function describeProgress({ progress }: SourceStatus): string {
  if (!progress) return ''
  const share = progress.bytesTotal > 0 ? `${Math.floor((100 * progress.bytes) / progress.bytesTotal)} %, ` : ''
  const left = progress.secondsLeft === null ? '' : `, ${formatDurationMs(progress.secondsLeft * 1000)} left`
  const files = progress.files > 0 ? `${formatCount(progress.files)} files, ` : ''
  return `${share}${files}${formatBytes(progress.bytes)}${left}`
}
