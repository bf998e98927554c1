import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'
import type { Capture, CaptureRequest } from '../capture.ts'
import { ThreadCapture } from '../thread-capture.ts'
import { beginning, decodeCursor } from './cursor.ts'
import type { EngineRequest } from './messages.ts'
import type { Account } from './server.ts'

/** Begins to capture a PostgreSQL cluster by its replication protocol, in a thread of its own. */
export async function openPostgresCapture(request: CaptureRequest, account: Account): Promise<Capture> {
  const { source, resumeAt, cursor, chunkKey } = request
  const resumedMoment = decodeCursor(cursor).moment
  const workerData: EngineRequest = { source, resumeAt, cursor, chunkKey, account }
  const worker = new Worker(new URL(`./postgres-worker${extname(import.meta.url)}`, import.meta.url), { workerData })
  return new ThreadCapture(worker, resumedMoment > beginning.moment ? resumedMoment : undefined)
}
