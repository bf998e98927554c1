import { withQuery } from '../../api/client.ts'
import { sourcePath } from '../../api/around.ts'

/** What is browsed: a source at a point. */
export interface Browsed {
  readonly vault: string
  readonly source: string
  /** A POINT. */
  readonly at: string
}

/** A path of it; `pathBytes` where it is not UTF-8. */
export interface Place {
  readonly path: string
  readonly pathBytes?: string | undefined
}

export const nameOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1) || '/'
export const folderOf = (path: string): string => path.slice(0, path.lastIndexOf('/')) || '/'

/** Below `/api`, as the client takes it. */
export const placePath = (
  { vault, source, at }: Browsed,
  what: 'tree' | 'stat' | 'content' | 'archive',
  { path, pathBytes }: Place,
  query: Readonly<Record<string, string | number>> = {},
): string =>
  withQuery(sourcePath(vault, source, `/${what}`), {
    at,
    ...(pathBytes === undefined ? { path } : { pathBytes }),
    ...query,
  })

/** For a link that the browser follows itself. */
export const downloadHref = (browsed: Browsed, place: Place, isFolder: boolean): string =>
  `/api${isFolder ? placePath(browsed, 'archive', place, { format: 'zip' }) : placePath(browsed, 'content', place)}`

const bits = ['r', 'w', 'x'] as const

/** `rw-r-----` */
export const writeMode = (mode: number): string =>
  Array.from({ length: 9 }, (_, at) => ((mode >> (8 - at)) & 1 ? bits[at % 3] : '-')).join('')
