import { z } from 'zod'
import { fromAbsolute, fromBuffer, rootPath, treePath, type TreePath } from '../model/path.ts'
import { type Moment, moment, parseMoment } from '../model/moment.ts'

/** What requests about a moment name: a source, a point, a path. */

export const named = z.object({ source: z.string() })
export const at = z.string().default('latest').describe('latest · a moment · seq:N · mark:LABEL · flush · flush:MOMENT')
export const path = z.string().optional().describe('absolute path, UTF-8')
export const pathBytes = z.base64().optional().describe('the exact path without its first "/", where it is not UTF-8')
export const where = z.object({ at, path, pathBytes })

export function pathIn({
  path: text,
  pathBytes: bytes,
}: {
  path?: string | undefined
  pathBytes?: string | undefined
}): TreePath {
  if (bytes !== undefined) return exactPath(bytes)
  return text === undefined ? rootPath : fromAbsolute(text)
}

export const exactPath = (bytes: string): TreePath => treePath(fromBuffer(Buffer.from(bytes, 'base64')))

/** Of a moment whose form was checked. */
export const momentOf = (iso: string): Moment => parseMoment(iso, moment(0)) as Moment
