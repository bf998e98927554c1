import { BuiltPage } from '../browser/built-page.ts'
import { Place } from '../place.ts'
import { ours, percentile } from '../record.ts'
import type { Assignment, Row } from '../row.ts'

const row = 'timeline'
const program = new URL('../../web/src/timeline/measured/page.ts', import.meta.url)

export const timeline: Row = { name: row, title: 'Dragging and zooming the timeline over ten million changes', measure }

/** As `web/src/timeline/measured/page.ts` tells. */
interface Measured {
  readonly frames: readonly number[]
  readonly drawing: readonly number[]
  readonly tilesAsked: number
}

/** Eight tracks, each with all the changes, at 1920 pixels; a tile is answered after 25 ms, as by a vault in another town. */
async function measure({ record, runs, isQuick, tell }: Assignment): Promise<void> {
  using place = new Place(row)
  const asked = { changes: isQuick ? 1_000_000 : 10_000_000, tracks: 8, seconds: isQuick ? 6 : 20, answerMs: 25 }
  for (let count = 0; count < runs; count++) {
    await using built = await BuiltPage.open(program, place.fresh('page'), { width: 1920, height: 1080 })
    await built.page.waitForFunction('window.measureTimeline !== undefined')
    const { frames, drawing, tilesAsked } = await built.page.evaluate<Measured>(
      `window.measureTimeline(${JSON.stringify(asked)})`,
    )
    const shown = (frames.length * 1000) / frames.reduce((sum, ms) => sum + ms, 0)
    record.add({ row, what: 'frames while dragging', unit: 'frames/s' }, ours, shown)
    for (const share of [0.5, 0.99]) {
      record.add({ row, what: `time between two frames, p${share * 100}`, unit: 'ms' }, ours, percentile(frames, share))
      record.add({ row, what: `our part of a frame, p${share * 100}`, unit: 'ms' }, ours, percentile(drawing, share))
    }
    tell(`${shown.toFixed(1)} frames/s, ours p99 ${percentile(drawing, 0.99).toFixed(1)} ms, ${tilesAsked} tiles`)
  }
}
