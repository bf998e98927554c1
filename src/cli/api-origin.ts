import { type ApiClient, apiPath } from '../api/client.ts'
import { chunkKeyAnswer, resolvedPoint } from '../api/schemas.ts'
import { Malformed } from '../base/bytes.ts'
import { TidemarkError } from '../base/errors.ts'
import { decodeContent } from '../format/content.ts'
import { toBuffer, type TreePath } from '../model/path.ts'
import { sequence } from '../model/sequence.ts'
import type { ReadRequest, RestoreOrigin } from '../recover/origin.ts'
import { isoToMoment } from './points.ts'

/** A point of a source's journal, restored over the vault's HTTP API. The point is resolved once and stands still. */
export async function apiOrigin(
  client: ApiClient,
  source: string,
  at: string,
  signal: AbortSignal,
): Promise<RestoreOrigin> {
  const base = `/v1/sources/${encodeURIComponent(source)}`
  const { chunkKey } = await client.json('GET', '/v1/chunk-key', chunkKeyAnswer)
  const point = await client.json('GET', apiPath(`${base}/point`, { at }), resolvedPoint)
  const still = `seq:${point.sequence}`
  return {
    chunkKey: Buffer.from(chunkKey, 'base64'),
    resolve: async () => ({
      at: sequence(point.sequence),
      moment: isoToMoment(point.moment),
      suspect: point.suspect,
    }),
    manifest: (paths) =>
      streamed(() =>
        client.stream(
          'GET',
          apiPath(`${base}/manifest`, { at: still, pathBytes: paths.map(encodePath) }),
          undefined,
          signal,
        ),
      ),
    read: (requests) =>
      decoded(
        streamed(() =>
          client.stream(
            'POST',
            apiPath(`${base}/read-resting`, { at: still }),
            { requests: requests.map(encodeRequest) },
            signal,
          ),
        ),
      ),
  }
}

const encodePath = (path: TreePath): string => toBuffer(path).toString('base64')
const encodeRequest = ({ path, at, bytes }: ReadRequest): { path: string; at: number; bytes: number } => ({
  path: encodePath(path),
  at,
  bytes,
})

async function* streamed(open: () => Promise<AsyncIterable<Uint8Array>>): AsyncGenerator<Uint8Array> {
  yield* await open()
}

async function* decoded(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield* decodeContent(pieces)
  } catch (error) {
    if (!(error instanceof Malformed)) throw error
    throw new TidemarkError('protocol-violation', {
      message: `the vault sent content that is not of its form: ${error.message}`,
      hint: 'run the restore again with --resume; if this happens again, the versions of agent and vault do not fit',
      cause: error,
    })
  }
}
