import { type Dirent, lstatSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '../../base/clock.ts'
import { isSystemError } from '../../base/errors.ts'

export interface Walk {
  /** Largest first. */
  readonly directories: readonly { readonly path: string; readonly bytes: number; readonly files: number }[]
  /** Why not everything was looked at. */
  readonly stopped: string | undefined
}

export interface WalkLimits {
  readonly entriesMax: number
  readonly msMax: number
}
export const walkLimits: WalkLimits = { entriesMax: 400_000, msMax: 10_000 }

/** The system's own: nobody protects it directory by directory. */
const left =
  /^\/(?:proc|sys|dev|run|boot|bin|sbin|lib[^/]*|usr|etc|tmp|lost\+found|snap|var\/(?:cache|tmp|run|lock|lib\/(?:dpkg|apt|rpm|docker|containerd|tidemark)))(?:\/|$)/
/** Sums are told of directories this far below the root. */
const toldDepth = 3
const toldMax = 64
/** Between looks at the clock. */
const pauseEvery = 64

/** Where many bytes are, level by level, so that a walk that stops early has seen something of everything. */
export async function largeDirectories(
  roots: readonly string[],
  limits: WalkLimits,
  clock: Clock,
  signal: AbortSignal,
): Promise<Walk> {
  const endMs = clock.monotonicMs() + limits.msMax
  const sums = new Map<string, { bytes: number; files: number }>()
  const seen = new Set<string>()
  // Who asks for one of the system's own directories gets it.
  let waiting = roots.map((path) => ({ path, device: lstatSync(path).dev, isWhole: left.test(path) }))
  let entries = 0
  let stopped: string | undefined
  for (let looked = 0; waiting.length > 0 && stopped === undefined;) {
    const below: typeof waiting = []
    for (const { path, device, isWhole } of waiting) {
      if (++looked % pauseEvery === 0) {
        await new Promise((resolve) => setImmediate(resolve))
        signal.throwIfAborted()
        if (clock.monotonicMs() > endMs) stopped = `after ${limits.msMax / 1000} s`
      }
      if (entries > limits.entriesMax) stopped = `after ${limits.entriesMax} entries`
      if (stopped !== undefined) break
      for (const entry of entriesOf(path)) {
        entries++
        const inside = join(path, entry.name)
        if (entry.isDirectory()) {
          const stat = statOf(inside)
          if (stat?.dev === device && (isWhole || !left.test(inside))) below.push({ path: inside, device, isWhole })
        } else if (entry.isFile()) {
          const stat = statOf(inside)
          if (stat === undefined) continue
          // A file of several names is counted once.
          const key = `${stat.dev}:${stat.ino}`
          if (stat.nlink > 1 && seen.has(key)) continue
          if (stat.nlink > 1) seen.add(key)
          count(sums, path, stat.blocks * 512)
        }
      }
    }
    waiting = below
  }
  const directories = Array.from(sums, ([path, sum]) => ({ path, ...sum }))
    .toSorted((one, other) => other.bytes - one.bytes)
    .slice(0, toldMax)
  return { directories, stopped }
}

function count(sums: Map<string, { bytes: number; files: number }>, folder: string, bytes: number): void {
  const names = folder.split('/').filter((name) => name !== '')
  for (let depth = 1; depth <= Math.min(toldDepth, names.length); depth++) {
    const path = `/${names.slice(0, depth).join('/')}`
    const sum = sums.get(path) ?? { bytes: 0, files: 0 }
    sum.bytes += bytes
    sum.files++
    sums.set(path, sum)
  }
}

/** What cannot be read, or is gone by now, counts as nothing. */
function entriesOf(path: string): Dirent[] {
  return unlessGone(() => readdirSync(path, { withFileTypes: true })) ?? []
}

const statOf = (path: string) => unlessGone(() => lstatSync(path))

function unlessGone<T>(look: () => T): T | undefined {
  try {
    return look()
  } catch (error) {
    if (isSystemError(error, 'ENOENT', 'ENOTDIR', 'EACCES', 'EPERM', 'EIO', 'ESTALE')) return undefined
    throw error
  }
}
