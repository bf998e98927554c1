import { type Clock } from '../../base/clock.ts'
import { isCode, messageOf } from '../../base/errors.ts'
import { rootPath, type TreePath } from '../../model/path.ts'
import { failuresMax, type VerifyEvent } from './service.ts'
import { readAtRest } from './stretches.ts'
import type { View } from './view.ts'

const eventEveryMs = 250

/** Reads every byte of every file at a view; goes on after what is wrong. A file of several names is read once. */
export async function* verifyView(view: View, clock: Clock): AsyncGenerator<VerifyEvent> {
  const totals = countFiles(view)
  const failures: { path: TreePath; message: string }[] = []
  let files = 0
  let bytes = 0
  let toldMs = clock.monotonicMs()
  const event = (done: boolean): VerifyEvent => ({ done, files, bytes, ...totals, failures: done ? failures : [] })
  yield event(false)
  for (const { path, version } of filesOf(view)) {
    try {
      for await (const read of readAtRest(view, version)) {
        bytes += read
        if (clock.monotonicMs() - toldMs < eventEveryMs) continue
        yield event(false)
        toldMs = clock.monotonicMs()
      }
    } catch (error) {
      if (isCode(error, 'point-unreachable')) throw error
      if (failures.length < failuresMax) failures.push({ path, message: messageOf(error) })
    }
    files++
  }
  yield event(true)
}

function countFiles(view: View): { filesTotal: number; bytesTotal: number } {
  const totals = { filesTotal: 0, bytesTotal: 0 }
  for (const { version } of filesOf(view)) {
    totals.filesTotal++
    totals.bytesTotal += version.bytes
  }
  return totals
}

function* filesOf(view: View) {
  const seen = new Set<number>()
  for (const { path, node, type } of view.walk(view.find(rootPath))) {
    const version = type === 'file' ? view.version(node) : undefined
    if (version === undefined || seen.has(node)) continue
    if (version.linked === 1) seen.add(node)
    yield { path, version }
  }
}
