import { type ApiClient, apiPath, jsonLines } from '../api/client.ts'
import { entry, resolvedPoint } from '../api/schemas.ts'
import { isCode } from '../base/errors.ts'
import { toBuffer, type TreePath } from '../model/path.ts'
import { sequence } from '../model/sequence.ts'
import type { TreeFile, TreeReader } from '../postgres-past/tree-reader.ts'
import { isoToMoment } from './points.ts'

/** The tree of a source, read over the vault's HTTP API. */
export function apiTreeReader(client: ApiClient, source: string, signal: AbortSignal): TreeReader {
  const base = `/v1/sources/${encodeURIComponent(source)}`
  const pathBytes = (path: TreePath): string => toBuffer(path).toString('base64')
  return {
    resolve: async (point) => {
      const found = await client.json('GET', apiPath(`${base}/point`, { at: point }), resolvedPoint)
      return { at: sequence(found.sequence), moment: isoToMoment(found.moment) }
    },
    list: async (folder, at) => {
      const path = apiPath(`${base}/tree`, { at: `seq:${at}`, pathBytes: pathBytes(folder) })
      const files: TreeFile[] = []
      try {
        for await (const one of jsonLines(await client.stream('GET', path, undefined, signal), entry)) {
          if (one.type === 'file') files.push({ name: one.path.slice(one.path.lastIndexOf('/') + 1), bytes: one.bytes })
        }
      } catch (error) {
        if (!isCode(error, 'not-found')) throw error
      }
      return files
    },
    read: async function* (path, at, range) {
      const query = { at: `seq:${at}`, pathBytes: pathBytes(path), offset: range?.from, length: range?.bytes }
      yield* await client.stream('GET', apiPath(`${base}/content`, query), undefined, signal)
    },
  }
}
