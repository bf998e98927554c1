import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { sequence } from '../../model/sequence.ts'
import { Overlay, overlayBlockBytes } from './overlay.ts'

const base = { source: 'a'.repeat(32), at: sequence(7), bytes: 1024 * 1024 }

test('a flush that waits for another is not overtaken by one that is asked for just as that ends', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-overlay-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  using overlay = Overlay.open(join(folder, 'trial.overlay'), base)
  const block = Buffer.alloc(overlayBlockBytes, 1)
  overlay.write(0, block)
  let isOver = false
  const asItEnds = overlay.flush().then(async () => {
    await overlay.flush()
    isOver = true
  })
  overlay.write(overlayBlockBytes, block)
  await overlay.flush()
  // Whichever of the two has taken its bits: they are durable now, so both are over but for their last steps.
  for (let steps = 0; steps < 5; steps++) await Promise.resolve()
  assert.ok(isOver)
  await asItEnds
})
