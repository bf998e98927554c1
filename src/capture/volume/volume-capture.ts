import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'
import type { Capture, CaptureRequest } from '../capture.ts'
import { ThreadCapture } from '../thread-capture.ts'
import { beginning, decodeCursor } from './cursor.ts'
import type { EngineRequest } from './messages.ts'
import type { ServerHome } from './start-server.ts'

/** Begins to capture a volume behind its server, in a thread of its own; the server is started where it does not run. */
export async function openVolumeCapture(request: CaptureRequest, home: ServerHome): Promise<Capture> {
  const { source, resumeAt, cursor, chunkKey } = request
  const resumedMoment = decodeCursor(cursor).moment
  const workerData: EngineRequest & { home: ServerHome } = { source, resumeAt, cursor, chunkKey, home }
  const worker = new Worker(new URL(`./volume-worker${extname(import.meta.url)}`, import.meta.url), { workerData })
  return new ThreadCapture(worker, resumedMoment > beginning.moment ? resumedMoment : undefined)
}
