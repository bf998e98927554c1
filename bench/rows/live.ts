import { pause } from '../command.ts'
import { isInstalled } from '../machine.ts'
import { startLsyncd } from '../peers/lsyncd.ts'
import type { Mirror } from '../peers/mirror.ts'
import { startSyncthing } from '../peers/syncthing.ts'
import { Place } from '../place.ts'
import { ours, percentile } from '../record.ts'
import type { Assignment, Row } from '../row.ts'
import { LiveTree } from './live-tree.ts'
import { type Arrival, MirrorObserver, type Observer, TidemarkObserver } from './live-observers.ts'

const row = 'live'

export const live: Row = { name: row, title: 'From the close of a changed file to the other side', measure }

/** A file that is costly to read is left alone by the agent for ten times what the last reading took. */
const restMs = { full: 15_000, quick: 3000 }

/** How many single changes each is asked for: those that wait for seconds by default are asked less often. */
interface Trial {
  readonly singles: number
  readonly patient: boolean
}

async function measure(assignment: Assignment): Promise<void> {
  const { isQuick, runs } = assignment
  const often: Trial = { singles: isQuick ? 20 : 200, patient: false }
  const seldom: Trial = { singles: isQuick ? 3 : 8, patient: true }
  for (let count = 0; count < runs; count++) {
    await tidemarkTrial(assignment, often)
    // The peers wait most of the time; they are asked often within their one run.
    if (count > 0) continue
    if (isInstalled('lsyncd') && isInstalled('rsync')) {
      await mirrorTrial(assignment, often, (place, source, target) => startLsyncd(place, source, target, 1))
      await mirrorTrial(assignment, seldom, (place, source, target) => startLsyncd(place, source, target))
    }
    if (isInstalled('syncthing')) {
      await mirrorTrial(assignment, often, (place, source, target) => startSyncthing(place, source, target, 1))
      await mirrorTrial(assignment, seldom, (place, source, target) => startSyncthing(place, source, target))
    }
  }
}

async function tidemarkTrial(assignment: Assignment, trial: Trial): Promise<void> {
  using place = new Place(row)
  const tree = new LiveTree(place.directory, assignment.isQuick)
  await using observer = await TidemarkObserver.start(place.directory, tree, assignment.profileDirectory)
  await trials(assignment, trial, tree, ours, observer)
}

async function mirrorTrial(
  assignment: Assignment,
  trial: Trial,
  start: (place: string, source: string, target: string) => Promise<Mirror>,
): Promise<void> {
  using place = new Place(row)
  const tree = new LiveTree(place.directory, assignment.isQuick)
  await using mirror = await start(place.directory, tree.directory, `${place.directory}/target`)
  const observer = new MirrorObserver(mirror)
  await observer.untilSame(tree)
  await trials(assignment, trial, tree, mirror.name, observer)
}

async function trials(
  assignment: Assignment,
  { singles, patient }: Trial,
  tree: LiveTree,
  name: string,
  observer: Observer,
): Promise<void> {
  const { tell, isQuick } = assignment
  using watched = observer.watch()
  const arrivals: Arrival[] = []
  for (let count = 0; count < singles; count++) {
    arrivals.push(await observer.arrival(tree.changeOne(count)))
    await tree.rest()
  }
  add(assignment, name, `one file, ${patient ? 'few' : singles} times`, arrivals)
  const burst = await observer.arrivals(await tree.burst())
  add(assignment, name, 'burst of small files', burst)
  for (const where of ['middle', 'end'] as const) {
    const rested: Arrival[] = []
    for (let count = 0; count < (patient ? 1 : 3); count++) {
      await pause(isQuick ? restMs.quick : restMs.full)
      rested.push(await observer.arrival(tree.changeLarge(where, count)))
    }
    add(assignment, name, `4 KiB in the ${where} of a large file, now and then`, rested)
  }
  const again: Arrival[] = []
  for (let count = 0; count < (patient ? 1 : 5); count++)
    again.push(await observer.arrival(tree.changeLarge('end', count)))
  add(assignment, name, '4 KiB in the end of a large file, again at once', again)
  assignment.record.add({ row, what: 'CPU time of all this', unit: 'CPU s' }, name, watched.usage().cpuSeconds)
  const shown = arrivals.map(({ durableMs }) => durableMs)
  tell(
    `${name}: one file p50 ${percentile(shown, 0.5).toFixed(1)} ms, p99 ${percentile(shown, 0.99).toFixed(1)} ms; burst p99 ${percentile(
      burst.map(({ durableMs }) => durableMs),
      0.99,
    ).toFixed(0)} ms`,
  )
}

/** For a mirror, what is durable is what is visible: neither of them promises more. */
function add({ record }: Assignment, name: string, what: string, arrivals: readonly Arrival[]): void {
  const shares =
    arrivals.length < 20
      ? ([
          ['p50', 0.5],
          ['max', 1],
        ] as const)
      : ([
          ['p50', 0.5],
          ['p99', 0.99],
        ] as const)
  for (const [label, share] of shares) {
    record.add(
      { row, what: `${what}: ${label}`, unit: 'ms' },
      name,
      percentile(
        arrivals.map(({ durableMs }) => durableMs),
        share,
      ),
    )
    if (name !== ours) continue
    record.add(
      { row, what: `${what}, visible in views: ${label}`, unit: 'ms' },
      name,
      percentile(
        arrivals.map(({ visibleMs }) => visibleMs),
        share,
      ),
    )
  }
}
