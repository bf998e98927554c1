import type { Command } from 'commander'
import { type SpaceAnswer, spaceAnswer } from '../api/measures.ts'
import { formatMoment } from '../model/moment.ts'
import { connect } from './connect.ts'
import { formatBytes, formatTable } from './format.ts'
import { isoToMoment } from './points.ts'
import { exitStatusHelp, type Parts } from './parts.ts'

export function vaultSpaceCommand(vault: Command, parts: Parts): void {
  vault
    .command('space')
    .description('what the vault holds, what each source takes, and when it will be full')
    .option('--json', 'one JSON object')
    .addHelpText(
      'after',
      `\nExamples:\n  tidemark vault space\n  tidemark vault space --json | jq .full\n${exitStatusHelp}`,
    )
    .action(async ({ json }: { json?: boolean }, command: Command) => {
      const space = await connect(command, parts).json('GET', '/v1/space', spaceAnswer)
      parts.out.write(json ? `${JSON.stringify(space)}\n` : describe(space))
    })
}

function describe(space: SpaceAnswer): string {
  const { storedBytes, indexBytes, logicalBytes, freeBytes, totalBytes, sources } = space
  const saved = logicalBytes > storedBytes ? Math.round(100 * (1 - storedBytes / logicalBytes)) : 0
  const head = [
    `${formatBytes(storedBytes)} stored and ${formatBytes(indexBytes)} of indexes; ${formatBytes(freeBytes)} free of ${formatBytes(totalBytes)}`,
    `as it came it would be ${formatBytes(logicalBytes)}: deduplication and compression save ${saved} %`,
    forecast(space),
  ]
  const rows = sources
    .toSorted((a, b) => b.historyBytes - a.historyBytes)
    .map((one) => [one.name, formatBytes(one.treeBytes), formatBytes(one.historyBytes), formatBytes(one.journalBytes)])
  return `${head.join('\n')}\n${formatTable(['SOURCE', 'TREE', 'HISTORY', 'JOURNAL'], rows, [1, 2, 3])}`
}

function forecast({ growthBytesPerDay: growth, full }: SpaceAnswer): string {
  if (growth === null) return 'how it grows is not known yet: that takes half a day'
  const grows = `it ${growth < 0 ? 'shrinks' : 'grows'} by ${formatBytes(Math.abs(growth))} a day`
  if (full === null) return `${grows}: it will not be full`
  return `${grows}: it will be full on ${formatMoment(isoToMoment(full)).slice(0, 10)}`
}
