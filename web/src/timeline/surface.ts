import type { PointRow } from '../../../src/api/schemas.ts'
import { type Density, toDensity } from './density.ts'
import { draw } from './draw.ts'
import { type Gesture, Gestures, wheeled } from './gestures.ts'
import { type Hit, hitAt, momentOf, roundMoment } from './hit.ts'
import { browserZone, type Instant, writeLocal } from './instant.ts'
import { deedOf } from './keys.ts'
import { type Landmark, merged, nearest, toLandmarks, type Transaction, type Verified } from './landmarks.ts'
import { heightOfAll, layoutOf, trackAt } from './layout.ts'
import type { PictureTrack, Theme } from './picture.ts'
import { bounded, fitted, panned, pixelAt, resized, type Scale, showing, timeAt, until, zoomed } from './scale.ts'
import { tickLabels } from './tick-labels.ts'
import { TileCache, type TileTrack } from './tile-cache.ts'
import { columnsOfTile, levelOf, tileLength, type TilePlace, tilesBetween } from './tiles.ts'

/** One source on the timeline. */
export interface SurfaceTrack extends TileTrack {
  readonly name: string
  /** Where tiles cannot tell: spans that begin before what is seen. */
  readonly landmarks: readonly Landmark[]
  readonly verified: readonly Verified[]
  readonly hasTransactions: boolean
}

/** Where the past comes from. */
export interface TimelineSource {
  points(track: TileTrack, place: TilePlace, signal: AbortSignal): Promise<readonly PointRow[]>
  transactions(track: TileTrack, place: TilePlace, signal: AbortSignal): Promise<readonly Transaction[]>
}

export interface Pointed {
  readonly x: number
  readonly y: number
  readonly at: Instant
  readonly track: SurfaceTrack | undefined
  readonly hit: Hit | undefined
  /** In the column below the pointer; undefined where it is not known. */
  readonly changes: number | undefined
  readonly columnUs: number
}

export interface SurfaceEvents {
  choose(at: Instant, hit: Hit | undefined, track: SurfaceTrack | undefined): void
  enter(): void
  point(pointed: Pointed | undefined): void
  /** What a frame took to draw, in milliseconds. */
  drawn?(ms: number): void
}

export interface SurfaceState {
  readonly tracks: readonly SurfaceTrack[]
  readonly chosen: Instant | undefined
  readonly theme: Theme
  readonly language: string
  readonly nowText: string
  readonly isCompact: boolean
  /** Microseconds that the vault's clock is ahead of the browser's. */
  readonly ahead: number
}

interface TileValue {
  readonly density: Density
  readonly landmarks: readonly Landmark[]
}

const tickMs = 1000
/** Transactions are asked for where a tile is at most about a minute long. */
const transactionLevelMax = 26
const firstSpanUs = 24 * 3600 * 1_000_000
/** Below it the present would fly by. */
const followPerPixelMin = 20_000
const easePerFrame = 0.25

/** The canvas, what hands and keys do to it, and what it needs to know for the next frame. A frame is drawn when something has changed. */
export class TimelineSurface implements Disposable {
  readonly #canvas: HTMLCanvasElement
  readonly #events: SurfaceEvents
  readonly #tiles: TileCache<TileValue>
  readonly #transactions: TileCache<readonly Transaction[]>
  readonly #gestures = new Gestures()
  readonly #ended = new AbortController()
  readonly #observer: ResizeObserver
  readonly #timer: number
  #state: SurfaceState
  #scale: Scale | undefined
  #labels: ReturnType<typeof tickLabels>
  #frame: number | undefined
  #isFollowing = true
  #hover: { x: number; y: number } | undefined
  #drawn: readonly PictureTrack[] = []
  readonly #densest = new Map<string, number>()

  constructor(canvas: HTMLCanvasElement, source: TimelineSource, state: SurfaceState, events: SurfaceEvents) {
    this.#canvas = canvas
    this.#events = events
    this.#state = state
    this.#labels = tickLabels(state.language, browserZone)
    const parts = { now: () => performance.now(), changed: () => this.#invalidate() }
    this.#tiles = new TileCache({
      ...parts,
      load: async (track, place, signal) => {
        const rows = await source.points(track, place, signal)
        return { density: toDensity(rows, place), landmarks: toLandmarks(rows) }
      },
    })
    this.#transactions = new TileCache({
      ...parts,
      load: (track, place, signal) => source.transactions(track, place, signal),
    })
    this.#listen()
    this.#observer = new ResizeObserver(() => this.#resize())
    this.#observer.observe(canvas)
    this.#timer = window.setInterval(() => this.#tick(), tickMs)
    this.#resize()
  }

  get scale(): Scale | undefined {
    return this.#scale
  }

  update(state: SurfaceState): void {
    if (state.language !== this.#state.language) this.#labels = tickLabels(state.language, browserZone)
    this.#state = state
    this.#canvas.style.height = `${heightOfAll(this.#layout())}px`
    this.#resize()
    this.#invalidate()
  }

  /** Shows a span; one that ends with now goes on with it. */
  show(from: Instant, to: Instant): void {
    const width = this.#scale?.width ?? 1
    this.#isFollowing = to >= this.#now()
    this.#move(fitted(from, this.#isFollowing ? to + (to - from) * 0.03 : to, width))
  }

  zoom(factor: number): void {
    if (this.#scale === undefined) return
    const { chosen } = this.#state
    const x = chosen === undefined ? -1 : pixelAt(this.#scale, chosen)
    const isSeen = x >= 0 && x <= this.#scale.width
    this.#move(zoomed(this.#scale, isSeen ? x : this.#scale.width / 2, factor))
  }

  bringInto(at: Instant): void {
    if (this.#scale !== undefined) this.#move(showing(this.#scale, at), at)
  }

  [Symbol.dispose](): void {
    this.#ended.abort()
    this.#observer.disconnect()
    window.clearInterval(this.#timer)
    if (this.#frame !== undefined) cancelAnimationFrame(this.#frame)
    this.#tiles[Symbol.dispose]()
    this.#transactions[Symbol.dispose]()
  }

  #now(): Instant {
    return Date.now() * 1000 + this.#state.ahead
  }

  #layout() {
    return layoutOf(this.#state.tracks.length, this.#state.isCompact)
  }

  /** What is chosen can be seen, also where nothing is kept. */
  #bounds(chosen: Instant | undefined) {
    const now = this.#now()
    const seen = chosen ?? now
    const earliest = Math.min(...this.#state.tracks.map(({ earliest: at }) => at ?? now), now - 60_000_000, seen)
    return { earliest, latest: Math.max(now, seen) }
  }

  #move(scale: Scale, chosen = this.#state.chosen): void {
    this.#scale = bounded(scale, this.#bounds(chosen))
    const now = pixelAt(this.#scale, this.#now())
    if (now < 0 || now > this.#scale.width || this.#scale.perPixel < followPerPixelMin) this.#isFollowing = false
    this.#invalidate()
  }

  #tick(): void {
    if (document.hidden) return
    if (this.#isFollowing && this.#scale !== undefined && !this.#gestures.isActive) {
      const edge = until(this.#scale) - (this.#scale.width * this.#scale.perPixel * 3) / 103
      if (this.#now() > edge) this.#scale = { ...this.#scale, from: this.#scale.from + (this.#now() - edge) }
    }
    this.#invalidate()
  }

  #resize(): void {
    const width = this.#canvas.clientWidth
    if (width === 0) return
    const ratio = window.devicePixelRatio
    const height = heightOfAll(this.#layout())
    this.#canvas.style.height = `${height}px`
    const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)]
    const isSame = this.#canvas.width === wide && this.#canvas.height === high
    if (isSame && this.#scale?.width === width) return
    if (!isSame) Object.assign(this.#canvas, { width: wide, height: high })
    const now = this.#now()
    if (this.#scale === undefined) {
      const from = Math.max(this.#bounds(undefined).earliest, now - firstSpanUs)
      this.#scale = fitted(from - (now - from) * 0.02, now + (now - from) * 0.03, width)
      const { chosen } = this.#state
      // The address of the page may bring a moment that is long ago.
      if (chosen !== undefined) this.bringInto(chosen)
    }
    if (this.#scale.width !== width) this.#scale = resized(this.#scale, width)
    // At once: a canvas that was given a size is empty.
    this.#draw()
  }

  #invalidate(): void {
    this.#frame ??= requestAnimationFrame(() => this.#draw())
  }

  #draw(): void {
    if (this.#frame !== undefined) cancelAnimationFrame(this.#frame)
    this.#frame = undefined
    const scale = this.#scale
    const context = this.#canvas.getContext('2d', { alpha: false })
    if (scale === undefined || context === null) return
    const ratio = this.#canvas.width / scale.width
    const began = performance.now()
    const { tracks, theme, chosen, nowText } = this.#state
    const isNear = levelOf(scale) <= transactionLevelMax
    this.#tiles.want(tracks, scale)
    this.#transactions.want(isNear ? tracks.filter(({ hasTransactions }) => hasTransactions) : [], scale)
    this.#drawn = tracks.map((track) => this.#pictureOf(track, scale, isNear))
    draw(
      context,
      {
        scale,
        layout: this.#layout(),
        tracks: this.#drawn,
        now: this.#now(),
        nowText,
        chosen: chosen === undefined ? undefined : { at: chosen, text: writeMoment(chosen) },
        hover: this.#hoverText(scale),
        labels: this.#labels,
        zone: browserZone,
        theme,
      },
      ratio,
    )
    this.#events.drawn?.(performance.now() - began)
  }

  #pictureOf(track: SurfaceTrack, scale: Scale, isNear: boolean): PictureTrack {
    const densities: { clip: TilePlace; place: TilePlace; density: Density }[] = []
    const unknown: TilePlace[] = []
    const landmarks: (readonly Landmark[])[] = [track.landmarks]
    const transactions: Transaction[] = []
    let densest = 0
    const earliest = track.earliest ?? Infinity
    for (const place of tilesBetween(
      levelOf(scale),
      Math.max(scale.from, earliest),
      Math.min(until(scale), (track.latest ?? 0) + 1),
    )) {
      const own = this.#tiles.get(track, place)
      const found = own === undefined ? this.#tiles.standIns(track, place) : [{ place, value: own }]
      if (found.length === 0) unknown.push(place)
      for (const { place: of, value } of found) {
        densities.push({ clip: of.level < place.level ? of : place, place: of, density: value.density })
        landmarks.push(value.landmarks)
        densest = Math.max(densest, (value.density.densest * 1_000_000 * columnsOfTile) / tileLength(of.level))
      }
      if (isNear && track.hasTransactions) transactions.push(...(this.#transactions.get(track, place) ?? []))
    }
    return {
      densities,
      unknown,
      densest: this.#eased(track.key, densest),
      earliest: track.earliest,
      latest: track.latest,
      landmarks: landmarks.length === 1 ? track.landmarks : merged(landmarks),
      verified: track.verified,
      transactions,
    }
  }

  /** The full height follows what is seen in some frames, not in one: bars do not jump while one drags. */
  #eased(key: string, wanted: number): number {
    const before = this.#densest.get(key) ?? wanted
    const ratio = before > 0 && wanted > 0 ? wanted / before : 1
    const isThere = Math.abs(ratio - 1) < 0.02
    const next = before === 0 || wanted === 0 || isThere ? wanted || before : before * ratio ** easePerFrame
    this.#densest.set(key, next)
    if (!isThere) this.#invalidate()
    return next
  }

  #hoverText(scale: Scale): { x: number; text: string } | undefined {
    if (this.#hover === undefined || this.#gestures.isDragging) return undefined
    const { x } = this.#hover
    return { x, text: writeMoment(roundMoment(scale, x)) }
  }

  #pointed(x: number, y: number): Pointed | undefined {
    const scale = this.#scale
    if (scale === undefined) return undefined
    const index = trackAt(this.#layout(), y)
    const track = index === undefined ? undefined : this.#state.tracks[index]
    const picture = index === undefined ? undefined : this.#drawn[index]
    const hit = picture && hitAt(picture, scale, x)
    const at = timeAt(scale, x)
    const tile = picture?.densities.find(
      ({ place }) => at >= place.index * tileLength(place.level) && at < (place.index + 1) * tileLength(place.level),
    )
    const columnUs = tileLength(tile?.place.level ?? levelOf(scale)) / columnsOfTile
    const column = tile && Math.floor((at - tile.place.index * tileLength(tile.place.level)) / columnUs)
    const changes = column === undefined ? undefined : tile?.density.columns[column]
    return { x, y, at: momentOf(hit) ?? roundMoment(scale, x), track, hit, changes, columnUs }
  }

  #listen(): void {
    const canvas = this.#canvas
    const signal = this.#ended.signal
    const place = (event: MouseEvent): [number, number] => [event.offsetX, event.offsetY]
    canvas.addEventListener(
      'pointerdown',
      (event) => {
        if (event.button !== 0) return
        canvas.setPointerCapture(event.pointerId)
        this.#gestures.down(event.pointerId, ...place(event))
      },
      { signal },
    )
    canvas.addEventListener(
      'pointermove',
      (event) => {
        const [x, y] = place(event)
        for (const gesture of this.#gestures.move(event.pointerId, x, y)) this.#perform(gesture)
        this.#point(event.pointerType === 'mouse' || this.#gestures.isActive ? { x, y } : undefined)
      },
      { signal },
    )
    canvas.addEventListener(
      'pointerup',
      (event) => {
        for (const gesture of this.#gestures.up(event.pointerId)) this.#perform(gesture)
      },
      { signal },
    )
    canvas.addEventListener('pointercancel', (event) => this.#gestures.cancel(event.pointerId), { signal })
    canvas.addEventListener('pointerleave', () => this.#point(undefined), { signal })
    canvas.addEventListener(
      'wheel',
      (event) => {
        event.preventDefault()
        this.#perform(wheeled(event, event.offsetX))
      },
      { signal, passive: false },
    )
    canvas.addEventListener('dblclick', (event) => this.#perform({ kind: 'zoom', x: event.offsetX, factor: 0.25 }), {
      signal,
    })
    canvas.addEventListener('keydown', (event) => this.#press(event), { signal })
  }

  #perform(gesture: Gesture): void {
    const scale = this.#scale
    if (scale === undefined) return
    if (gesture.kind === 'pan') this.#move(panned(scale, gesture.pixels))
    else if (gesture.kind === 'zoom') this.#move(zoomed(scale, gesture.x, gesture.factor))
    else {
      const pointed = this.#pointed(gesture.x, gesture.y)
      if (pointed !== undefined) this.#events.choose(this.#possible(pointed.at), pointed.hit, pointed.track)
    }
  }

  #press(event: KeyboardEvent): void {
    const deed = deedOf(event)
    const scale = this.#scale
    if (deed === undefined || scale === undefined) return
    event.preventDefault()
    const { earliest, latest } = this.#bounds(undefined)
    const chosen = this.#state.chosen ?? Math.min(timeAt(scale, scale.width / 2), latest)
    const choose = (at: Instant): void => {
      this.#events.choose(this.#possible(at), undefined, undefined)
      this.#move(showing(scale, at))
    }
    switch (deed.kind) {
      case 'move':
        return choose(roundMoment({ ...scale, from: chosen }, deed.pixels))
      case 'pan':
        return this.#move(panned(scale, -deed.share * scale.width))
      case 'zoom':
        return this.zoom(deed.factor)
      case 'landmark': {
        const all = merged([
          ...this.#state.tracks.map(({ landmarks }) => landmarks),
          ...this.#drawn.map(({ landmarks }) => landmarks),
        ])
        const found = nearest(all, chosen, deed.towards)
        return found && choose(found.at)
      }
      case 'end':
        return choose(deed.which === 'earliest' ? earliest : latest)
      default:
        return this.#events.enter()
    }
  }

  /** Nothing before the window and nothing of the future can be chosen. */
  #possible(at: Instant): Instant {
    const { earliest, latest } = this.#bounds(undefined)
    return Math.round(Math.min(Math.max(at, earliest), latest))
  }

  #point(hover: { x: number; y: number } | undefined): void {
    if (hover === undefined && this.#hover === undefined) return
    this.#hover = hover
    this.#events.point(hover === undefined || this.#gestures.isDragging ? undefined : this.#pointed(hover.x, hover.y))
    this.#invalidate()
  }
}

/** Microseconds are told where there are any. */
export const writeMoment = (at: Instant): string => writeLocal(at, browserZone, at % 1000 === 0 ? 3 : 6)

/** Without the day where that is the day of `near`. */
export function writeMomentNear(at: Instant, near: Instant): string {
  const [day, time] = writeMoment(at).split(' ')
  return writeMoment(near).startsWith(`${day} `) ? (time ?? '') : `${day} ${time}`
}
