import { createSecretKey } from 'node:crypto'
import { parentPort, workerData } from 'node:worker_threads'
import { unreachable } from '../base/assert.ts'
import { messageOf, systemCode } from '../base/errors.ts'
import { syncFilesystem } from '../base/syscalls/sync.ts'
import { Folders } from './folders.ts'
import { finishLargeFile, nothingWritten, type Target, writeGroup, type Written } from './write-group.ts'
import { noMoreJobs, type WriterAnswer, type WriterJob, type WriterSetup } from './writers.ts'

/** A thread of `Writers`: does one job after the other with synchronous calls, which cost least. */
const setup = workerData as WriterSetup
const target: Target = {
  folders: new Folders(setup.root),
  chunkKey: createSecretKey(setup.chunkKey),
  ownStaging: setup.ownStaging,
  largeStaging: setup.largeStaging,
}

parentPort?.on('message', (job: WriterJob | typeof noMoreJobs) => {
  if (job === noMoreJobs) parentPort?.close()
  else parentPort?.postMessage(answer(job))
})

function answer(job: WriterJob): WriterAnswer {
  try {
    return { written: perform(job) }
  } catch (error) {
    return { failed: { message: messageOf(error), code: systemCode(error) } }
  }
}

function perform(job: WriterJob): Written {
  switch (job.kind) {
    case 'group':
      return writeGroup(target, job.entries, job.content)
    case 'large-file':
      return finishLargeFile(target, job)
    case 'sync':
      syncFilesystem(setup.root)
      return nothingWritten
    default:
      return unreachable(job)
  }
}
