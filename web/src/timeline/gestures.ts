/** What a hand does to the timeline, told in CSS pixels of the canvas. */
export type Gesture =
  | { readonly kind: 'pan'; readonly pixels: number }
  /** Around `x`; above 1 shows more of time. */
  | { readonly kind: 'zoom'; readonly x: number; readonly factor: number }
  | { readonly kind: 'tap'; readonly x: number; readonly y: number }

interface Finger {
  x: number
  y: number
}

/** A pointer that moved further than this was dragged, not tapped. */
const tapPixels = 4

/** One pointer drags, two pinch; a pointer that goes down and up in its place taps. */
export class Gestures {
  readonly #fingers = new Map<number, Finger>()
  #travelled = 0

  get isActive(): boolean {
    return this.#fingers.size > 0
  }

  get isDragging(): boolean {
    return this.isActive && this.#travelled > tapPixels
  }

  down(pointer: number, x: number, y: number): void {
    if (this.#fingers.size >= 2) return
    if (this.#fingers.size === 0) this.#travelled = 0
    // Where two fingers are down, nothing is tapped.
    else this.#travelled = Infinity
    this.#fingers.set(pointer, { x, y })
  }

  move(pointer: number, x: number, y: number): Gesture[] {
    const finger = this.#fingers.get(pointer)
    if (finger === undefined) return []
    const other = [...this.#fingers].find(([id]) => id !== pointer)?.[1]
    const before = { ...finger }
    finger.x = x
    finger.y = y
    this.#travelled += Math.hypot(x - before.x, y - before.y)
    if (other !== undefined) return pinched(before, finger, other)
    return this.isDragging && x !== before.x ? [{ kind: 'pan', pixels: x - before.x }] : []
  }

  up(pointer: number): Gesture[] {
    const finger = this.#fingers.get(pointer)
    this.#fingers.delete(pointer)
    return finger !== undefined && this.#travelled <= tapPixels ? [{ kind: 'tap', ...finger }] : []
  }

  cancel(pointer: number): void {
    this.#fingers.delete(pointer)
  }
}

const apartPixelsMin = 12

function pinched(before: Finger, now: Finger, other: Finger): Gesture[] {
  const middle = (before.x + other.x) / 2
  const moved = (now.x - before.x) / 2
  const apart = (one: Finger): number => Math.max(apartPixelsMin, Math.hypot(one.x - other.x, one.y - other.y))
  const factor = apart(before) / apart(now)
  return [
    { kind: 'pan', pixels: moved },
    { kind: 'zoom', x: middle + moved, factor },
  ]
}

/** How a turn of the wheel is meant: sideways, or with Shift, it drags; else it zooms. A step of a wheel is about 100. */
export function wheeled(
  { deltaX, deltaY, shiftKey }: { readonly deltaX: number; readonly deltaY: number; readonly shiftKey: boolean },
  x: number,
): Gesture {
  if (shiftKey) return { kind: 'pan', pixels: -(deltaY === 0 ? deltaX : deltaY) }
  if (Math.abs(deltaX) > Math.abs(deltaY)) return { kind: 'pan', pixels: -deltaX }
  return { kind: 'zoom', x, factor: 2 ** (Math.max(-240, Math.min(240, deltaY)) / 200) }
}
