import type { Command } from 'commander'
import { apiPath } from '../api/client.ts'
import { type RetentionAnswer, retentionAnswer } from '../api/measures.ts'
import { sourceStatus } from '../api/schemas.ts'
import { TidemarkError } from '../base/errors.ts'
import { formatMoment } from '../model/moment.ts'
import { connect } from './connect.ts'
import { formatBytes, formatCount, formatDurationMs } from './format.ts'
import { duration } from './option-values.ts'
import { isoToMoment } from './points.ts'
import { exitStatusHelp, type Parts } from './parts.ts'

interface WindowOptions {
  readonly preview?: boolean
  readonly delete?: boolean
  readonly json?: boolean
}

export function windowCommand(program: Command, parts: Parts): void {
  program
    .command('window')
    .argument('<source>')
    .argument('<duration>', 'how far back every change is to be kept (30m, 12h, 7d)')
    .description('change how far back a source can be restored; what a shorter window deletes is told before')
    .option('--preview', 'only tell what would be deleted')
    .option('--delete', 'agree to what a shorter window deletes: it is gone for good')
    .option('--json', 'one JSON object')
    .addHelpText(
      'after',
      `
Examples:
  tidemark window documents 30d
  tidemark window documents 3d --preview
  tidemark window documents 3d --delete
${exitStatusHelp}`,
    )
    .action(async (source: string, text: string, options: WindowOptions, command: Command) => {
      const client = connect(command, parts)
      const windowMs = duration('the window', text)
      const path = `/v1/sources/${encodeURIComponent(source)}`
      const preview = await client.json('GET', apiPath(`${path}/retention`, { windowMs }), retentionAnswer)
      if (options.preview === true) {
        parts.out.write(options.json ? `${JSON.stringify(preview)}\n` : `would delete ${describe(preview)}\n`)
        return
      }
      if (preview.changes > 0 && options.delete !== true)
        throw new TidemarkError('bad-request', {
          message: `a window of ${text} deletes ${describe(preview)}`,
          hint: 'give the command again with --delete, if that is what you want; nothing was changed',
        })
      const { policy } = await client.json('PATCH', path, sourceStatus, { policy: { windowMs } })
      parts.out.write(
        options.json
          ? `${JSON.stringify({ source, windowMs: policy.windowMs, ...preview })}\n`
          : `every change of ${source} is kept for ${formatDurationMs(policy.windowMs)}${preview.changes > 0 ? `; deletes ${describe(preview)}` : ''}\n`,
      )
    })
}

function describe({ changes, journalBytes, marks, earliestThen }: RetentionAnswer): string {
  if (changes === 0) return 'nothing'
  const named = marks.length === 0 ? '' : `, the marks ${marks.map(({ label }) => label).join(', ')}`
  const earliest =
    earliestThen === null ? '' : `; the earliest point is then ${formatMoment(isoToMoment(earliestThen))}`
  return `${formatCount(changes)} changes in ${formatBytes(journalBytes)} of journal${named}${earliest}`
}
