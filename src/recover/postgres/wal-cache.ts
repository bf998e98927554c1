import { chownSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { isCode, messageOf, TidemarkError } from '../../base/errors.ts'
import type { Clock } from '../../base/clock.ts'
import { walFolder } from '../../format/postgres-tree.ts'
import { lsn, parseWalSegmentName, walSegmentName } from '../../model/lsn.ts'
import { joinPath } from '../../model/path.ts'
import type { Sequence } from '../../model/sequence.ts'
import type { TreeReader } from '../../postgres-past/tree-reader.ts'
import type { WalFile } from '../../postgres-past/wal-known.ts'

/**
 * The folder `tidemark/wal` of a restored data directory, in which WAL waits until recovery asks for it. Recovery runs the sh script
 * `tidemark/restore-command` (restore-command.ts), which takes a file away by renaming it.
 *
 *   <segment>, <timeline>.history   ready to be taken, as long as the server wants it
 *   <name>.part                     being written
 *   <name>.wanted                   recovery waits for it; set by the script
 *   <name>.missing                  the vault has no such file; recovery goes on without
 *   <name>.failed                   why it could not be had: recovery must stop, not end early
 *   supplier                        the process that answers `.wanted`; absent: the script asks the vault itself
 *   complete                        all that will be asked for is here; what is not here is missing
 */
export interface WalOrigin {
  readonly tree: TreeReader
  /** Where WAL is read. Histories are read at the newest point, so that no timeline is begun twice. */
  readonly view: Sequence
  readonly segmentBytes: number
  readonly folder: string
  readonly owner: { readonly uid: number; readonly gid: number } | undefined
}

const aheadFilesMax = 16
const aheadBytesMax = 512 * 1024 * 1024
const parallelMax = 4
/** Offset of the address of a WAL page in its header. */
const pageAddressAt = 8

export class WalCache {
  readonly #origin: WalOrigin
  readonly #sizes: ReadonlyMap<string, number>
  readonly #histories: { readonly names: ReadonlySet<string>; readonly at: Sequence }
  readonly #underway = new Map<string, Promise<boolean>>()
  /** How many files wait here at most. */
  readonly filesMax: number

  private constructor(origin: WalOrigin, sizes: Map<string, number>, histories: { names: Set<string>; at: Sequence }) {
    this.#origin = origin
    this.#sizes = sizes
    this.#histories = histories
    this.filesMax = Math.max(2, Math.min(aheadFilesMax, Math.floor(aheadBytesMax / origin.segmentBytes)))
  }

  static async open(origin: WalOrigin): Promise<WalCache> {
    const { tree, view, folder, owner } = origin
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    if (owner) chownSync(folder, owner.uid, owner.gid)
    const newest = await tree.resolve('latest')
    const [known, now] = await Promise.all([tree.list(walFolder, view), tree.list(walFolder, newest.at)])
    const names = now.map(({ name }) => name).filter((name) => name.endsWith('.history'))
    return new WalCache(origin, new Map(known.map(({ name, bytes }) => [name, bytes])), {
      names: new Set(names),
      at: newest.at,
    })
  }

  get folder(): string {
    return this.#origin.folder
  }

  /** Brings a file here unless it is; false, and told to the script, where the vault has none of that name. */
  bring(name: string): Promise<boolean> {
    const underway = this.#underway.get(name) ?? this.#bring(name)
    this.#underway.set(name, underway)
    return underway.finally(() => this.#underway.delete(name))
  }

  /** The names of the segments after this one that are known, at most so many. */
  following(name: string, count: number): string[] {
    if (!/^[0-9A-F]{24}$/.test(name)) return []
    const { segmentBytes } = this.#origin
    const found: string[] = []
    let { timeline, start } = parseWalSegmentName(name, segmentBytes)
    while (found.length < count) {
      start = lsn(start + segmentBytes)
      const same = walSegmentName(timeline, start, segmentBytes)
      const next = this.#sizes.has(same)
        ? same
        : [...this.#sizes.keys()].find((one) => one.slice(8) === same.slice(8) && one > same)
      if (next === undefined) break
      timeline = parseWalSegmentName(next, segmentBytes).timeline
      found.push(next)
    }
    return found
  }

  /** Several at once, in their order. */
  async bringAll(names: Iterable<string>): Promise<void> {
    const left = [...names].reverse()
    const worker = async (): Promise<void> => {
      for (let name = left.pop(); name !== undefined; name = left.pop()) await this.bring(name)
    }
    await Promise.all(Array.from({ length: parallelMax }, worker))
  }

  /** From now on what is not here is missing: recovery can go on without this process and without the vault. */
  async complete(): Promise<void> {
    await this.bringAll(this.#histories.names)
    this.put('complete', '')
  }

  /** A small file for the script. */
  put(name: string, content: string): void {
    const file = join(this.folder, name)
    writeFileSync(`${file}.part`, content, { mode: 0o600 })
    this.#hand(file)
  }

  async #bring(name: string): Promise<boolean> {
    const file = join(this.folder, name)
    if (existsSync(file)) return true
    const isHistory = this.#histories.names.has(name)
    const bytes = this.#sizes.get(name)
    if (!isHistory && (bytes === undefined || name.endsWith('.history'))) {
      this.put(`${name}.missing`, '')
      return false
    }
    const { tree, view, segmentBytes } = this.#origin
    const at = isHistory ? this.#histories.at : view
    const out = await open(`${file}.part`, 'w', 0o600)
    try {
      let written = 0
      let first: Uint8Array | undefined
      for await (const piece of tree.read(joinPath(walFolder, name), at)) {
        first ??= piece
        await out.write(piece)
        written += piece.length
      }
      if (!isHistory) {
        checkSegment(name, written, bytes as number, first ?? new Uint8Array(), segmentBytes)
        await out.truncate(segmentBytes)
      }
    } finally {
      await out.close()
    }
    this.#hand(file)
    return true
  }

  #hand(file: string): void {
    const { owner } = this.#origin
    if (owner) chownSync(`${file}.part`, owner.uid, owner.gid)
    renameSync(`${file}.part`, file)
  }
}

function checkSegment(name: string, written: number, bytes: number, first: Uint8Array, segmentBytes: number): void {
  const { start } = parseWalSegmentName(name, segmentBytes)
  const told = Buffer.from(first.buffer, first.byteOffset, first.byteLength)
  const address = told.length >= pageAddressAt + 8 ? Number(told.readBigUInt64LE(pageAddressAt)) : start
  if (written === bytes && address === start) return
  throw new TidemarkError('damaged', {
    message: `the vault gave ${written} bytes for wal/${name}, which has ${bytes} and begins at another place`,
    hint: 'run "tidemark verify" on the vault',
  })
}

const pollMs = 20
const triesMax = 10
const retryMs = 1000

/** What has been asked for of the WAL of a recovery. */
export interface SupplyProgress {
  readonly files: number
  readonly filesTotal: number
}

/** Answers the script until `signal` aborts: what it waits for, and ahead of that the files of `order`. */
export async function supplyWal(
  cache: WalCache,
  order: readonly WalFile[],
  clock: Clock,
  tell: (progress: SupplyProgress) => void,
  signal: AbortSignal,
): Promise<void> {
  const names = order.map(({ name }) => name)
  const underway = new Map<string, Promise<void>>()
  let next = 0
  cache.put('supplier', `${process.pid}\n`)
  try {
    while (!signal.aborted) {
      const here = readdirSync(cache.folder)
      const wanted = here.filter((name) => name.endsWith('.wanted')).map((name) => name.slice(0, -'.wanted'.length))
      for (const name of wanted) {
        if (here.some((one) => one === name || one === `${name}.missing` || one === `${name}.failed`)) continue
        next = Math.max(next, names.indexOf(name) + 1)
        run(name)
      }
      const ready = here.filter((name) => /^[0-9A-F]{24}$/.test(name)).length
      while (next < names.length && ready + underway.size < cache.filesMax && underway.size < parallelMax) {
        run(names[next++] as string)
      }
      tell({ files: Math.max(0, next - ready - underway.size), filesTotal: names.length })
      await clock.sleep(pollMs)
    }
  } finally {
    rmSync(join(cache.folder, 'supplier'), { force: true })
    await Promise.all(underway.values())
  }

  function run(name: string): void {
    if (underway.has(name)) return
    const done = bringPatiently(cache, name, clock, signal)
      .catch((error: unknown) => cache.put(`${name}.failed`, `${messageOf(error)}\n`))
      .finally(() => underway.delete(name))
    underway.set(name, done)
  }
}

async function bringPatiently(cache: WalCache, name: string, clock: Clock, signal: AbortSignal): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      await cache.bring(name)
      return
    } catch (error) {
      const isAway = isCode(error, 'unreachable') || isCode(error, 'not-running')
      if (!isAway || tries === triesMax || signal.aborted) throw error
      await clock.sleep(retryMs)
    }
  }
}
