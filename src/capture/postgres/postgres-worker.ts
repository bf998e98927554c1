import { workerData } from 'node:worker_threads'
import { systemClock } from '../../base/clock.ts'
import { systemRandom } from '../../base/random.ts'
import { runEngine } from '../thread-worker.ts'
import { Engine } from './engine.ts'
import type { EngineRequest } from './messages.ts'

await runEngine((hand) => new Engine(workerData as EngineRequest, { clock: systemClock, random: systemRandom, hand }))
