/**
 * npm run sim -- [--volumes] [--seeds COUNT] [--from SEED] [--seed SEED]
 * npm run sim -- --planted [--volumes] [--seeds COUNT] [--from SEED]
 *
 * Runs worlds, one after the other, each decided by its seed: of servers with files, or with volumes. `--seed` runs one
 * and tells all that happens in it.
 * `--planted` puts faults into the product on purpose, and tells how many seeds it takes until each is noticed.
 * Exit status: 0 when all promises were kept, 1 when one was broken or a planted fault was not noticed, 2 for arguments that are not understood.
 */
import { parseArgs } from 'node:util'
import { planted, seedsUntilCaught } from './planted.ts'
import { plantedVolumes } from './volume/planted.ts'
import type { WorldKind } from './servers.ts'
import { runWorld } from './world.ts'
import { Trace } from './trace.ts'

process.exitCode = await main()

async function main(): Promise<number> {
  const told = argumentsOf()
  if (told === undefined) return 2
  const { seeds, from, kind, isVerbose, isPlanted } = told
  if (isPlanted) return await tellPlanted(from, seeds, kind)
  const startedMs = performance.now()
  let changes = 0
  let trees = 0
  for (let seed = from; seed < from + seeds; seed++) {
    const trace = new Trace({ live: isVerbose ? (line) => console.log(line) : undefined })
    try {
      const passed = await runWorld(seed, trace, {}, kind)
      changes += passed.changes
      trees += passed.treesCompared
      if (isVerbose) console.log(JSON.stringify(passed))
    } catch (error) {
      if (!isVerbose) console.log(trace.tail())
      console.log(error)
      console.log(
        `\nseed ${seed} failed; see all of it with: npm run sim -- ${kind === 'volumes' ? '--volumes ' : ''}--seed ${seed}`,
      )
      return 1
    }
  }
  const seconds = (performance.now() - startedMs) / 1000
  console.log(
    `${seeds} seeds from ${from}: ${(seeds / seconds).toFixed(1)} seeds/s, ${changes} changes, ${trees} trees compared byte by byte`,
  )
  return 0
}

async function tellPlanted(from: number, seedsMax: number, kind: WorldKind): Promise<number> {
  console.log('seeds  planted fault')
  let isAllCaught = true
  for (const { fault, plant } of kind === 'volumes' ? plantedVolumes : planted) {
    const caught = await seedsUntilCaught(plant, { from, seedsMax, kind })
    isAllCaught &&= caught !== undefined
    console.log(`${String(caught?.seeds ?? 'never').padStart(5)}  ${fault}`)
  }
  return isAllCaught ? 0 : 1
}

interface Arguments {
  readonly seeds: number
  readonly from: number
  readonly kind: WorldKind
  readonly isVerbose: boolean
  readonly isPlanted: boolean
}

function argumentsOf(): Arguments | undefined {
  const options = {
    seeds: { type: 'string' },
    from: { type: 'string' },
    seed: { type: 'string' },
    planted: { type: 'boolean' },
    volumes: { type: 'boolean' },
  } as const
  try {
    const { values } = parseArgs({ options })
    const from = Number(values.seed ?? values.from ?? 1)
    const seeds = values.seed === undefined ? Number(values.seeds ?? 100) : 1
    if (Number.isSafeInteger(from) && Number.isSafeInteger(seeds) && from >= 0 && seeds > 0) {
      const kind = values.volumes === true ? 'volumes' : 'files'
      return { seeds, from, kind, isVerbose: values.seed !== undefined, isPlanted: values.planted === true }
    }
    console.error('seeds are whole numbers')
  } catch (error) {
    console.error(error instanceof Error ? error.message : error)
  }
  return undefined
}
