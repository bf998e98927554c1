/** Where a page is found, with what it begins with. */

const withParameters = (path: string, parameters: Readonly<Record<string, string | undefined>>): string => {
  const given = Object.entries(parameters).flatMap(([key, value]) => (value === undefined ? [] : [[key, value]]))
  return given.length === 0 ? path : `${path}?${new URLSearchParams(given)}`
}

export const systemLink = (system: string, at?: string): string =>
  withParameters(`/systems/${encodeURIComponent(system)}`, { at })

export interface BrowseLink {
  readonly vault: string
  readonly source: string
  /** A POINT; absent: the newest. */
  readonly at?: string | undefined
  readonly path?: string | undefined
  /** The other side of a comparison. */
  readonly to?: string | undefined
}
export const browseLink = ({ vault, source, at, path, to }: BrowseLink): string =>
  withParameters(`/browse/${encodeURIComponent(vault)}/${encodeURIComponent(source)}`, { at, path, to })

export interface RestoreLink {
  readonly system?: string | undefined
  readonly vault?: string | undefined
  readonly source?: string | undefined
  readonly at?: string | undefined
  readonly path?: string | undefined
}
export const restoreLink = ({ system, vault, source, at, path }: RestoreLink): string =>
  withParameters('/restore', { system, vault, source, at, path })

export const taskLink = (vault: string, task: string): string => withParameters('/tasks', { vault, task })
