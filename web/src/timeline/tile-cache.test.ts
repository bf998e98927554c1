import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { fitted, panned, type Scale } from './scale.ts'
import { TileCache, type TileTrack } from './tile-cache.ts'
import { levelOf, parentOf, type TilePlace, tilesWanted } from './tiles.ts'

const second = 1_000_000
const begin = 1_790_000_000 * second

interface Asked {
  readonly name: string
  readonly signal: AbortSignal
  answer(value: string): Promise<void>
  fail(): Promise<void>
}

/** A vault that answers when the test says so. */
class Desk {
  readonly asked: Asked[] = []
  nowMs = 0
  readonly cache = new TileCache<string>({
    load: (track, place, signal) => this.#load(track, place, signal),
    now: () => this.nowMs,
    changed: () => undefined,
  })

  #load(track: TileTrack, place: TilePlace, signal: AbortSignal): Promise<string> {
    const { promise, resolve, reject } = Promise.withResolvers<string>()
    signal.addEventListener('abort', () => reject(new Error('aborted')))
    const settle = async (end: () => void): Promise<void> => {
      end()
      await setImmediate()
    }
    this.asked.push({
      name: nameOf(track, place),
      signal,
      answer: (value) => settle(() => resolve(value)),
      fail: () => settle(() => reject(new Error('away'))),
    })
    return promise
  }

  async answerAll(): Promise<void> {
    for (let at = 0; at < this.asked.length; at++)
      if (!this.asked[at]!.signal.aborted) await this.asked[at]!.answer(this.asked[at]!.name)
  }
}

const nameOf = (track: TileTrack, { level, index }: TilePlace): string => `${track.key}/${level}/${index}`
const track = (key: string, latest: number): TileTrack => ({ key, earliest: begin, latest })
const view = (offset: number): Scale => fitted(begin + offset, begin + offset + 600 * second, 1000)

test('what is seen is asked for first, then what may be next, never more than four at once', async () => {
  const desk = new Desk()
  const scale = view(3600 * second)
  const tracks = [track('a', begin + 86_400 * second), track('b', begin + 86_400 * second)]
  desk.cache.want(tracks, scale)
  assert.equal(desk.asked.length, 4)
  const { seen, next } = tilesWanted(scale)
  await desk.answerAll()
  const asked = desk.asked.map(({ name }) => name)
  const expected = [...seen, ...next].flatMap((place) => tracks.map((one) => nameOf(one, place)))
  assert.deepEqual(asked, expected)
  desk.cache.want(tracks, scale)
  assert.equal(desk.asked.length, expected.length)
  assert.equal(desk.cache.get(tracks[0]!, seen[0]!), nameOf(tracks[0]!, seen[0]!))
})

test('what has been passed by is cancelled, and what is wanted now is asked for in its place', async () => {
  const desk = new Desk()
  const tracks = [track('a', begin + 86_400 * second)]
  desk.cache.want(tracks, view(3600 * second))
  const before = [...desk.asked]
  desk.cache.want(tracks, panned(view(3600 * second), -40_000))
  await setImmediate()
  assert.ok(before.every(({ signal }) => signal.aborted))
  assert.ok(desk.asked.length > before.length)
  await desk.answerAll()
  assert.equal(desk.cache.isLoading, false)
  assert.equal(desk.cache.hasFailed, false)
})

test('until a tile is here, a coarser one or both finer ones stand in', async () => {
  const desk = new Desk()
  const tracks = [track('a', begin + 86_400 * second)]
  const scale = view(3600 * second)
  desk.cache.want(tracks, scale)
  await desk.answerAll()
  const nearer = { level: levelOf(scale) - 1, index: tilesWanted(scale).seen[0]!.index * 2 }
  const far = parentOf(parentOf(tilesWanted(scale).seen[0]!))
  const [standIn] = desk.cache.standIns(tracks[0]!, { level: nearer.level - 1, index: nearer.index * 2 })
  assert.ok(standIn !== undefined && standIn.place.level >= nearer.level)
  assert.deepEqual(desk.cache.standIns(tracks[0]!, { level: far.level + 30, index: 5 }), [])
})

test('the live edge is asked for again when there is more, at most once a second; the past never', async () => {
  const desk = new Desk()
  const scale = view(3600 * second)
  const early = begin + 3900 * second
  desk.cache.want([track('a', early)], scale)
  await desk.answerAll()
  const before = desk.asked.length
  desk.cache.want([track('a', early)], scale)
  assert.equal(desk.asked.length, before)
  desk.cache.want([track('a', early + second)], scale)
  assert.equal(desk.asked.length, before, 'asked again at once')
  desk.nowMs += 60_000
  desk.cache.want([track('a', early + 2 * second)], scale)
  assert.ok(desk.asked.length > before)
  await desk.answerAll()
  const again = desk.asked.slice(before).map(({ name }) => Number(name.split('/')[2]) * 2 ** Number(name.split('/')[1]))
  assert.ok(again.every((from) => from <= early + 2 * second))
})

test('a tile that could not be had is asked for again after a while, not at once', async () => {
  const desk = new Desk()
  const tracks = [track('a', begin + 3700 * second)]
  desk.cache.want(tracks, view(3600 * second))
  const [first] = desk.asked
  await first!.fail()
  assert.equal(desk.cache.hasFailed, true)
  await desk.answerAll()
  const before = desk.asked.length
  desk.cache.want(tracks, view(3600 * second))
  assert.equal(desk.asked.length, before)
  desk.nowMs += 6000
  desk.cache.want(tracks, view(3600 * second))
  assert.equal(desk.asked[before]!.name, first!.name)
  await desk.answerAll()
  assert.equal(desk.cache.hasFailed, false)
})

test('nothing is asked for before the window, after the newest change, or of a source without either', async () => {
  const desk = new Desk()
  desk.cache.want(
    [{ key: 'new', earliest: undefined, latest: undefined }, track('a', begin + 100 * second)],
    view(7200 * second),
  )
  const { level } = tilesWanted(view(7200 * second)).seen[0]!
  assert.ok(desk.asked.every(({ name }) => name.startsWith('a/') && Number(name.split('/')[1]) >= level))
})
