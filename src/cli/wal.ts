import { mkdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from 'commander'
import { TidemarkError } from '../base/errors.ts'
import { readBaselines } from '../postgres-past/past.ts'
import { WalCache } from '../recover/postgres/wal-cache.ts'
import { connect } from './connect.ts'
import { tellFailure } from './failure.ts'
import { exitStatus, type Parts } from './parts.ts'
import { apiTreeReader } from './tree-reader.ts'

export function walCommand(program: Command, parts: Parts): void {
  const wal = program.command('wal').description('the write-ahead log of a PostgreSQL source')
  wal
    .command('get')
    .argument('<source>')
    .argument('<name>', 'of a WAL segment or a timeline history: %f of restore_command')
    .argument('<to>', 'the file to make, %p; or a folder, in which the segments that follow come to wait too')
    .description('bring one WAL file from the vault, for restore_command')
    .option('--at <point>', 'as the journal was then', 'latest')
    .addHelpText(
      'after',
      `
A segment of which only the beginning is known is filled up with zeros to its length.
In postgresql.conf:
  restore_command = 'tidemark wal get shop "%f" "%p"'
Example:
  tidemark wal get shop 000000010000000000000003 /tmp/000000010000000000000003
Exit status: 0 done · 1 the vault has no such file · 126 it could not be had, and recovery must stop`,
    )
    .action(async (source: string, name: string, to: string, options: { at: string }, command: Command) => {
      try {
        const isThere = await get(source, name, to, options.at, command, parts)
        parts.exitWith(isThere ? exitStatus.done : exitStatus.failed)
      } catch (error) {
        tellFailure(error, false, parts)
        parts.exitWith(exitStatus.recoveryMustStop)
      }
    })
}

async function get(source: string, name: string, to: string, point: string, command: Command, parts: Parts) {
  if (!/^[0-9A-Za-z.]+$/.test(name))
    throw new TidemarkError('bad-request', { message: `${JSON.stringify(name)} is not the name of a WAL file` })
  const tree = apiTreeReader(connect(command, parts), source, parts.signal)
  const { at } = await tree.resolve(point)
  const baseline = (await readBaselines(tree, at)).at(-1)
  if (baseline === undefined)
    throw new TidemarkError('point-unreachable', {
      message: `${source} has no baseline at ${point}`,
      hint: '"tidemark points" shows when the first one was complete',
    })
  const isFolder = statSync(to, { throwIfNoEntry: false })?.isDirectory() === true
  const folder = isFolder ? to : `${to}.tidemark`
  const cache = await WalCache.open({ tree, view: at, segmentBytes: baseline.segmentBytes, folder, owner: undefined })
  if (isFolder) {
    await cache.bringAll([name, ...cache.following(name, cache.filesMax - 1)])
    return true
  }
  mkdirSync(folder, { recursive: true })
  try {
    const isThere = await cache.bring(name)
    if (isThere) renameSync(join(folder, name), to)
    return isThere
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
