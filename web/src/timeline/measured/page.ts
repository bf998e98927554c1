import type { Instant } from '../instant.ts'
import { lightTheme } from '../themes.ts'
import { TimelineSurface } from '../surface.ts'
import { SyntheticPast } from './synthetic.ts'

/** What a minute of dragging and zooming came to. */
export interface Measured {
  /** Between frames, milliseconds, ascending. */
  readonly frames: readonly number[]
  /** What our part of a frame took, milliseconds, ascending. */
  readonly drawing: readonly number[]
  readonly tilesAsked: number
}

export interface Measuring {
  readonly changes: number
  readonly tracks: number
  readonly seconds: number
  readonly answerMs: number
}

declare global {
  interface Window {
    measureTimeline(asked: Measuring): Promise<Measured>
  }
}

const dayUs = 86_400_000_000

window.measureTimeline = async ({ changes, tracks, seconds, answerMs }) => {
  const now: Instant = Date.now() * 1000
  const earliest = now - 60 * dayUs
  const past = new SyntheticPast(changes, earliest, now, answerMs)
  const canvas = document.createElement('canvas')
  canvas.style.cssText = 'display:block;width:100%'
  document.body.append(canvas)
  const drawing: number[] = []
  const nothing = (): void => undefined
  using surface = new TimelineSurface(
    canvas,
    past,
    {
      tracks: Array.from({ length: tracks }, (_, index) => ({
        key: `track ${index}`,
        name: `track ${index}`,
        earliest,
        latest: now,
        landmarks: [],
        verified: [],
        hasTransactions: false,
      })),
      chosen: now - 30 * dayUs,
      theme: lightTheme,
      language: 'en',
      nowText: 'now',
      isCompact: false,
      ahead: 0,
    },
    { choose: nothing, enter: nothing, point: nothing, drawn: (ms) => drawing.push(ms) },
  )
  surface.show(now - 20 * dayUs, now - 10 * dayUs)
  await pause(1500)
  drawing.length = 0
  const frames = await drag(canvas, seconds)
  const ascending = (values: number[]): number[] => values.toSorted((a, b) => a - b)
  return { frames: ascending(frames), drawing: ascending(drawing), tilesAsked: past.asked }
}

/** To and fro with the hand never still, and every second a turn of the wheel. */
async function drag(canvas: HTMLCanvasElement, seconds: number): Promise<number[]> {
  const frames: number[] = []
  const middle = canvas.clientWidth / 2
  const tell = (type: string, x: number): void => {
    const { left, top } = canvas.getBoundingClientRect()
    canvas.dispatchEvent(
      new PointerEvent(type, { pointerId: 1, pointerType: 'touch', button: 0, clientX: left + x, clientY: top + 80 }),
    )
  }
  canvas.setPointerCapture = () => undefined
  tell('pointerdown', middle)
  const began = performance.now()
  let last = began
  for (let turned = 0; ;) {
    const at = await new Promise<number>(requestAnimationFrame)
    if (frames.length > 0 || at > last) frames.push(at - last)
    last = at
    const passed = (at - began) / 1000
    if (passed >= seconds) break
    tell('pointermove', middle + Math.sin(passed * 2.4) * middle * 0.9)
    if (Math.floor(passed) === turned) continue
    turned = Math.floor(passed)
    const deltaY = turned % 8 < 4 ? -200 : 200
    canvas.dispatchEvent(new WheelEvent('wheel', { deltaY, clientX: middle, cancelable: true }))
  }
  tell('pointerup', middle)
  return frames.slice(1)
}

const pause = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    window.setTimeout(resolve, ms)
  })
