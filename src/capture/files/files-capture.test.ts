import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { decodeBatch } from '../../format/batch.ts'
import { fromAbsolute } from '../../model/path.ts'
import { advance, beforeFirst } from '../../model/sequence.ts'
import { defaultPolicy, type Id } from '../../model/source.ts'
import type { Capture, CaptureOutput } from '../capture.ts'
import { openFilesCapture } from './files-capture.ts'

async function openCapture(context: TestContext): Promise<{ capture: Capture; top: string }> {
  const scratch = mkdtempSync(join(tmpdir(), 'tidemark-thread-'))
  context.after(() => rmSync(scratch, { recursive: true }))
  const top = join(scratch, 'source')
  mkdirSync(top)
  writeFileSync(join(top, 'before'), 'x'.repeat(50_000))
  const id = '0'.repeat(32) as Id
  const capture = await openFilesCapture({
    source: {
      id,
      name: 'test',
      kind: 'files',
      agent: id,
      paths: [top],
      exclude: [],
      policy: defaultPolicy,
      paused: false,
    },
    stateDirectory: join(scratch, 'state'),
    resumeAt: beforeFirst,
    cursor: Buffer.alloc(0),
    chunkKey: Buffer.alloc(32),
  })
  context.after(() => capture[Symbol.asyncDispose]())
  capture.line(true)
  return { capture, top }
}

test('a capture works in its own thread, hears its consumer, and ends when it is disposed', async (context) => {
  const { capture, top } = await openCapture(context)
  const outputs = capture.outputs[Symbol.asyncIterator]()
  const path = fromAbsolute(join(top, 'after'))
  let isMarked = false
  for (;;) {
    const { value, done } = await outputs.next()
    assert.ok(done !== true)
    const output: CaptureOutput = value
    if (output.kind === 'offer')
      capture.answer(
        output.tag,
        output.ids.map(() => true),
      )
    if (output.kind !== 'batch') continue
    const { changes } = decodeBatch(output.bytes)
    capture.durable(output.last)
    if (changes.some(({ change }) => change.kind === 'mark' && change.mark.type === 'complete'))
      capture.mark(3, 'a mark')
    if (output.marks.some(({ tag }) => tag === 3)) {
      isMarked = true
      writeFileSync(join(top, 'after'), 'y')
    }
    if (changes.some(({ change }) => change.kind !== 'mark' && change.path === path)) break
  }
  assert.ok(isMarked)
  await capture[Symbol.asyncDispose]()
  for (;;) if ((await outputs.next()).done === true) break
})

test('what goes out is covered by a report at once, not by the next beat', async (context) => {
  const { capture, top } = await openCapture(context)
  let upTo = beforeFirst
  let beganMs = performance.now()
  const tookMs: number[] = []
  for await (const output of capture.outputs) {
    if (output.kind === 'offer')
      capture.answer(
        output.tag,
        output.ids.map(() => true),
      )
    if (output.kind === 'batch') upTo = output.last
    if (output.kind !== 'report' || output.report.state !== 'live' || output.report.upTo < upTo) continue
    if (output.report.dirty > 0) continue
    // The next change is made when the one before is covered.
    tookMs.push(performance.now() - beganMs)
    if (tookMs.length > 11) break
    writeFileSync(join(top, 'after'), `change ${tookMs.length}`)
    upTo = advance(upTo, 1)
    beganMs = performance.now()
  }
  // The first is the baseline. A beat comes every second; some may have met with a machine that stood still.
  const quick = tookMs.slice(1).filter((ms) => ms < 900)
  assert.ok(quick.length >= 5, `eleven changes took ${tookMs.slice(1).map(Math.round)} ms`)
})
