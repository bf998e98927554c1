import { join } from 'node:path'
import type { Finished } from '../command.ts'
import { change } from '../dataset.ts'
import { isInstalled } from '../machine.ts'
import { Restic } from '../peers/restic.ts'
import { copyTree } from '../peers/rsync.ts'
import { assertSameTree, Place, settle } from '../place.ts'
import { ours } from '../record.ts'
import { type Assignment, inTurn, type Row } from '../row.ts'
import { Tidemark } from '../tidemark.ts'

const row = 'reconcile'

export const reconcile: Row = { name: row, title: 'Comparing with the source again', measure }

const unchanged = 'unchanged, agent restarted'
const asked = 'unchanged, "tidemark reconcile"'
const changed = '1 % changed meanwhile'

/** All three keep the same working copy, and go through the same changes. */
async function measure(assignment: Assignment): Promise<void> {
  const { dataset, record, runs, tell } = assignment
  using place = new Place(row)
  const work = join(place.directory, 'work')
  await copyTree(dataset.directory, work)
  await using tidemark = await Tidemark.start(join(place.directory, 'tidemark'), {
    profileDirectory: assignment.profileDirectory,
  })
  await tidemark.protect('set', work)
  await tidemark.stopAgent()
  const restic = isInstalled('restic') ? new Restic(place.directory) : undefined
  await restic?.init()
  await restic?.backup(work)
  const copy = isInstalled('rsync') ? join(place.directory, 'copy') : undefined
  if (copy !== undefined) await copyTree(work, copy)

  const add = (what: string, who: string, { seconds, cpuSeconds }: Pick<Finished, 'seconds' | 'cpuSeconds'>): void => {
    tell(`${what}: ${who}: ${seconds.toFixed(2)} s, ${cpuSeconds.toFixed(2)} CPU s`)
    record.add({ row, what: `${what}: time`, unit: 's' }, who, seconds)
    record.add({ row, what: `${what}: CPU time`, unit: 'CPU s' }, who, cpuSeconds)
  }
  const contestants: { name: string; again(what: string): Promise<void> }[] = [
    {
      name: ours,
      again: async (what) => {
        add(what, ours, await restarted(tidemark))
        if (what === unchanged) add(asked, ours, await askedFor(tidemark))
        await tidemark.stopAgent()
      },
    },
  ]
  if (restic)
    contestants.push({
      name: 'restic',
      again: async (what) => {
        const finished = await restic.backup(work)
        add(what, 'restic', finished)
        if (what === unchanged) add(asked, 'restic', finished)
      },
    })
  if (copy !== undefined)
    contestants.push({ name: 'rsync', again: async (what) => add(what, 'rsync', await copyTree(work, copy)) })

  for (let count = 0; count < runs; count++) {
    for (const what of [unchanged, changed]) {
      if (what === changed) change(work, count)
      await settle(work)
      for (const contestant of inTurn(contestants, count)) await contestant.again(what)
    }
  }
  if (copy !== undefined) await assertSameTree(work, copy)
  const target = join(place.directory, 'out')
  await tidemark.command(['restore', 'set', '--to', target])
  await assertSameTree(work, join(target, work))
}

/** From the start of the agent's process until the vault's journal says that the comparison is complete. */
async function restarted(tidemark: Tidemark): Promise<Pick<Finished, 'seconds' | 'cpuSeconds'>> {
  const before = (await tidemark.source('set'))?.sequence ?? 0
  using vault = tidemark.watchVault()
  const began = performance.now()
  await tidemark.startAgent()
  await tidemark.untilSettled('set', before)
  const seconds = (performance.now() - began) / 1000
  return { seconds, cpuSeconds: vault.usage().cpuSeconds + tidemark.agentUsage.cpuSeconds }
}

async function askedFor(tidemark: Tidemark): Promise<Pick<Finished, 'seconds' | 'cpuSeconds'>> {
  const before = (await tidemark.source('set'))?.sequence ?? 0
  using watched = tidemark.watch()
  const began = performance.now()
  await tidemark.ask('POST', '/v1/sources/set/reconcile')
  await tidemark.untilSettled('set', before)
  return { seconds: (performance.now() - began) / 1000, cpuSeconds: watched.usage().cpuSeconds }
}
