import type { Command } from 'commander'
import type { z } from 'zod'
import { apiPath, jsonLines } from '../api/client.ts'
import { diffRow, entry, type EntryAnswer, historyRow } from '../api/schemas.ts'
import { TidemarkError } from '../base/errors.ts'
import { formatMoment } from '../model/moment.ts'
import { connect } from './connect.ts'
import { formatBytes, formatMode, formatTable } from './format.ts'
import { exitStatusHelp, type Parts } from './parts.ts'
import { isoToMoment } from './points.ts'

interface At {
  at: string
  json?: boolean
}

export const pointHelp = `
POINT is latest · a moment ("2026-11-22 14:03:11.250", ISO 8601, "10m ago") · seq:NUMBER · mark:LABEL
      of a volume also: flush (the last one) · flush:MOMENT (the last one up to then)`

/** `documents:/srv/docs/a.txt` names a path of a source; `documents` alone, or `documents:`, its root. */
export function parseTarget(text: string): { source: string; path: string } {
  const colon = text.indexOf(':')
  const source = colon === -1 ? text : text.slice(0, colon)
  if (source === '')
    throw new TidemarkError('bad-request', { message: `no source in "${text}"`, hint: 'write SOURCE:PATH' })
  return { source, path: colon === -1 ? '' : text.slice(colon + 1) }
}

const sourcePath = (source: string, rest: string, query: Record<string, string | undefined>): string =>
  apiPath(`/v1/sources/${encodeURIComponent(source)}/${rest}`, query)

const shown = (row: EntryAnswer, full: boolean): string => {
  const text = full ? row.path : (row.path.split('/').at(-1) ?? row.path)
  return row.target === undefined ? text : `${text} -> ${row.target}`
}

const row = (one: EntryAnswer, full: boolean): string[] => [
  formatMode(one.type, one.mode),
  `${one.uid}:${one.gid}`,
  one.type === 'file' ? formatBytes(one.bytes) : '',
  formatMoment(isoToMoment(one.modified)),
  shown(one, full),
]

export function lsCommand(program: Command, parts: Parts): void {
  program
    .command('ls')
    .argument('<source:path>')
    .description('list a directory as it stood at any moment')
    .option('--at <point>', 'the moment', 'latest')
    .option('--json', 'one JSON object a line')
    .addHelpText(
      'after',
      `${pointHelp}
Examples:
  tidemark ls documents:/srv/docs --at "10m ago"
${exitStatusHelp}`,
    )
    .action(async (target: string, { at, json }: At, command: Command) => {
      const { source, path } = parseTarget(target)
      const lines = await connect(command, parts).stream(
        'GET',
        sourcePath(source, 'tree', { at, path }),
        undefined,
        parts.signal,
      )
      const rows: string[][] = []
      const flush = (): void => {
        if (rows.length > 0) parts.out.write(pad(rows.splice(0)))
      }
      for await (const one of jsonLines(lines, entry)) {
        if (json) parts.out.write(`${JSON.stringify(one)}\n`)
        else rows.push(row(one, false))
        if (rows.length >= 1000) flush()
      }
      flush()
    })
}

const pad = (rows: string[][]): string => formatTable(rows[0] as string[], rows.slice(1), [2])

export function statCommand(program: Command, parts: Parts): void {
  program
    .command('stat')
    .argument('<source:path>')
    .description('one path as it stood at any moment')
    .option('--at <point>', 'the moment', 'latest')
    .option('--json', 'one JSON object')
    .addHelpText(
      'after',
      `${pointHelp}\nExample:\n  tidemark stat documents:/srv/docs/a.txt --at mark:before-upgrade\n${exitStatusHelp}`,
    )
    .action(async (target: string, { at, json }: At, command: Command) => {
      const { source, path } = parseTarget(target)
      const one = await connect(command, parts).json('GET', sourcePath(source, 'stat', { at, path }), entry)
      parts.out.write(json ? `${JSON.stringify(one)}\n` : pad([row(one, true)]))
    })
}

export function catCommand(program: Command, parts: Parts): void {
  program
    .command('cat')
    .argument('<source:path>')
    .description('the bytes of a file as they were at any moment, to standard output')
    .option('--at <point>', 'the moment', 'latest')
    .addHelpText(
      'after',
      `${pointHelp}\nExample:\n  tidemark cat documents:/srv/docs/a.txt --at "1h ago" > a.txt\n${exitStatusHelp}`,
    )
    .action(async (target: string, { at }: At, command: Command) => {
      const { source, path } = parseTarget(target)
      const pieces = await connect(command, parts).stream(
        'GET',
        sourcePath(source, 'content', { at, path }),
        undefined,
        parts.signal,
      )
      for await (const piece of pieces) {
        parts.out.write(piece)
        await parts.out.drained()
      }
    })
}

export function historyCommand(program: Command, parts: Parts): void {
  program
    .command('history')
    .argument('<source:path>')
    .description('every kept version of one path')
    .option('--json', 'one JSON object a line')
    .addHelpText('after', `\nExample:\n  tidemark history documents:/srv/docs/a.txt\n${exitStatusHelp}`)
    .action(async (target: string, { json }: { json?: boolean }, command: Command) => {
      const { source, path } = parseTarget(target)
      const lines = await connect(command, parts).stream(
        'GET',
        sourcePath(source, 'history', { path }),
        undefined,
        parts.signal,
      )
      const rows: string[][] = []
      for await (const one of jsonLines(lines, historyRow)) {
        if (json) parts.out.write(`${JSON.stringify(one)}\n`)
        else
          rows.push([
            `seq:${one.sequence}`,
            formatMoment(isoToMoment(one.moment)),
            one.event,
            one.type ?? '',
            one.bytes === undefined ? '' : formatBytes(one.bytes),
            one.modified === undefined ? '' : formatMoment(isoToMoment(one.modified)),
          ])
      }
      if (!json) parts.out.write(formatTable(['POINT', 'FROM', 'EVENT', 'TYPE', 'SIZE', 'MODIFIED'], rows, [4]))
    })
}

const signs: Record<z.infer<typeof diffRow>['change'], string> = {
  added: '+',
  removed: '-',
  content: 'M',
  attributes: 'a',
  type: 'T',
}

export function diffCommand(program: Command, parts: Parts): void {
  program
    .command('diff')
    .argument('<source[:path]>')
    .description('what differs between two moments')
    .requiredOption('--from <point>', 'the one moment')
    .option('--to <point>', 'the other', 'latest')
    .option('--json', 'one JSON object a line')
    .addHelpText(
      'after',
      `${pointHelp}
+ added · - removed · M content · a attributes only · T another type of thing
Example:
  tidemark diff documents --from "10m ago"
${exitStatusHelp}`,
    )
    .action(async (target: string, options: { from: string; to: string; json?: boolean }, command: Command) => {
      const { source, path } = parseTarget(target)
      const query = sourcePath(source, 'diff', { from: options.from, to: options.to, path })
      for await (const one of jsonLines(
        await connect(command, parts).stream('GET', query, undefined, parts.signal),
        diffRow,
      )) {
        parts.out.write(options.json ? `${JSON.stringify(one)}\n` : `${signs[one.change]} ${one.path}\n`)
      }
    })
}
