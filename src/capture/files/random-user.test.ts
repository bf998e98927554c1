import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { test } from 'node:test'
import { setImmediate as turnOver } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { needsRoot, openDriver } from '../../../test/capture-scratch.ts'
import { TreeGenerator } from '../../../test/tree-generator.ts'

const rounds = 5

// inotify cannot tell of writes through a second name that is gone again at once, see docs/decisions/0006-watching-files.md.
for (const [way, seeds, hardLinks] of [
  ['fanotify', [1, 2, 3], true],
  ['inotify', [4, 5], false],
  ['scanning', [6], true],
] as const) {
  for (const seed of seeds) {
    const skip = way === 'fanotify' && needsRoot
    test(
      `${way}: whatever a user does, the tree becomes what the directory is (seed ${seed})`,
      { skip },
      async (context) => {
        const driver = openDriver(context, { watching: { allowed: [way], unlimitedQueue: true } })
        const user = new TreeGenerator(driver.top, seed, { hardLinks })
        for (let round = 0; round < rounds; round++) {
          for (let burst = 0; burst < 6; burst++) {
            user.work(12)
            for (let turn = (seed + burst) % 4; turn > 0; turn--) await driver.engine.turn()
            if (burst === 3) driver.durable(4)
          }
          // Every end is met: none, in order, and by a kill that loses what was handed out last.
          if (round === 1) driver.close()
          if (round > 1) driver.killAndLose(round)
          user.work(5)
          if (way === 'scanning') driver.engine.receive({ kind: 'reconcile' })
          await driver.settleAndCompare()
        }
      },
    )
  }
}

test('copies of quiet moments are what the journal says of them', { skip: needsRoot }, async (context) => {
  const driver = openDriver(context)
  const user = new TreeGenerator(driver.top, 77)
  for (let moment = 0; moment < 3; moment++) {
    user.work(40)
    await driver.settle()
    const copy = join(driver.top, '..', `copy${moment}`)
    user.copyTo(copy)
    driver.compareWith(copy)
  }
})

const userProgram = fileURLToPath(new URL('../../../test/tree-user.ts', import.meta.url))

for (const [way, seed] of [
  ['fanotify', 8],
  ['inotify', 9],
] as const) {
  const skip = way === 'fanotify' && needsRoot
  test(`${way}: a user in another process, at the same time (seed ${seed})`, { skip }, async (context) => {
    const driver = openDriver(context, { watching: { allowed: [way], unlimitedQueue: true } })
    const user = fork(userProgram, [driver.top, String(seed), ...(way === 'inotify' ? ['--no-hard-links'] : [])])
    context.after(() => user.kill())
    await once(user, 'message')
    for (let round = 0; round < 5; round++) {
      const work = { isDone: false }
      user.once('message', () => {
        work.isDone = true
      })
      user.send(120)
      while (!work.isDone) {
        await driver.engine.turn()
        await turnOver()
      }
      if (round % 2 === 1) driver.killAndLose(round)
      await driver.settleAndCompare()
    }
  })
}
