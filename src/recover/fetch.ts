import { isCode, TidemarkError } from '../base/errors.ts'
import type { Extent } from '../model/change.ts'
import { displayName, type TreePath } from '../model/path.ts'
import type { Entry } from './groups.ts'
import { readPathBytesMax, type ReadRequest, readRequestsMax, type RestoreOrigin } from './origin.ts'

/** Content of one group, in the order of `runsOf`: what the vault could not give is zeros, and will not verify. */
export interface Fetched {
  /** The bytes, in pieces of any size. */
  readonly pieces: readonly Uint8Array[]
  /** What the vault said of the damage, if there was some. */
  readonly damage: readonly string[]
}

/** A stretch of a file without holes, whose content comes from the origin. */
export interface Run {
  readonly at: number
  readonly bytes: number
}

/** Asks the origin for all content of the entries that does not stand in the manifest itself. */
export async function fetchContent(origin: RestoreOrigin, entries: readonly Entry[]): Promise<Fetched> {
  const requests: ReadRequest[] = []
  for (const entry of entries) {
    if (entry.kind === 'node') continue
    for (const { at, bytes } of runsOf(entry.extents)) requests.push({ path: entry.path, at, bytes })
  }
  const pieces: Uint8Array[] = []
  const damage: string[] = []
  for (const some of slices(requests)) await fetchSome(origin, some, pieces, damage)
  return { pieces, damage }
}

/** As many requests at a time as an origin takes. */
function* slices(requests: readonly ReadRequest[]): Generator<ReadRequest[]> {
  let slice: ReadRequest[] = []
  let pathBytes = 0
  for (const request of requests) {
    if (slice.length === readRequestsMax || (slice.length > 0 && pathBytes + request.path.length > readPathBytesMax)) {
      yield slice
      slice = []
      pathBytes = 0
    }
    slice.push(request)
    pathBytes += request.path.length
  }
  if (slice.length > 0) yield slice
}

const totalBytes = (requests: readonly ReadRequest[]): number => requests.reduce((sum, { bytes }) => sum + bytes, 0)

/** Neighbouring extents are asked for as one. */
export function runsOf(extents: readonly Extent[]): Run[] {
  const runs: { at: number; bytes: number }[] = []
  for (const extent of extents) {
    if ('data' in extent) continue
    const last = runs.at(-1)
    if (last && last.at + last.bytes === extent.at) last.bytes += extent.bytes
    else runs.push({ at: extent.at, bytes: extent.bytes })
  }
  return runs
}

/** Where the vault finds damage, asks for halves, until what is damaged stands alone. */
async function fetchSome(
  origin: RestoreOrigin,
  requests: ReadRequest[],
  into: Uint8Array[],
  damage: string[],
): Promise<void> {
  const before = into.length
  try {
    return await fetchAtOnce(origin, requests, into)
  } catch (error) {
    if (!isCode(error, 'damaged')) throw error
    into.length = before
    const [first, second] = halves(requests)
    if (second.length === 0) {
      into.push(new Uint8Array(totalBytes(first)))
      damage.push(error.message)
      return
    }
    await fetchSome(origin, first, into, damage)
    await fetchSome(origin, second, into, damage)
  }
}

/** Requests this small are not split any more. */
const splitBytesMin = 64 * 1024

function halves(requests: ReadRequest[]): [ReadRequest[], ReadRequest[]] {
  const middle = requests.length >> 1
  if (middle > 0) return [requests.slice(0, middle), requests.slice(middle)]
  const [{ path, at, bytes }] = requests as [ReadRequest]
  if (bytes <= splitBytesMin) return [requests, []]
  const head = bytes >> 1
  return [[{ path, at, bytes: head }], [{ path, at: at + head, bytes: bytes - head }]]
}

async function fetchAtOnce(origin: RestoreOrigin, requests: ReadRequest[], into: Uint8Array[]): Promise<void> {
  const wanted = totalBytes(requests)
  let got = 0
  for await (const piece of origin.read(requests)) {
    got += piece.length
    if (got > wanted) throw wrongLength(requests, got, wanted)
    into.push(piece)
  }
  if (got !== wanted) throw wrongLength(requests, got, wanted)
}

const wrongLength = (requests: ReadRequest[], got: number, wanted: number): TidemarkError =>
  new TidemarkError('protocol-violation', {
    message:
      `the vault sent ${got} bytes where ${wanted} were asked for, ` +
      `from ${displayName((requests[0] as { path: TreePath }).path)} on`,
    hint: 'run the restore again with --resume; if this happens again, the versions of agent and vault do not fit',
  })
