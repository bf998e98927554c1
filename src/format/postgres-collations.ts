/**
 * What text is sorted by: the libraries of a machine, and their versions. An index on text that was made with one version may
 * find nothing with another, so a copy that runs on another machine may need its indexes anew.
 */

/** Each provider with a version of its library, as the server finds it now: `libc 2.36`, `icu 153.120`. */
export const collationsQuery = `
  SELECT DISTINCT CASE collprovider WHEN 'c' THEN 'libc' WHEN 'i' THEN 'icu' END, pg_catalog.pg_collation_actual_version(oid)
    FROM pg_catalog.pg_collation
   WHERE collprovider IN ('c', 'i') AND pg_catalog.pg_collation_actual_version(oid) IS NOT NULL
   ORDER BY 1, 2`

/** As it stands in a baseline (`collations` of its properties). */
export const tellCollations = (rows: readonly (readonly (string | null)[])[]): string =>
  rows.map((row) => row.join(' ')).join(', ')

export interface CollationDifference {
  readonly provider: string
  /** Versions at the source, and here; none where the provider is absent. */
  readonly was: string
  readonly is: string
}

/** What `now` says otherwise than `then` did. Nothing is known of a provider that `then` does not name. */
export function collationDifferences(then: string, now: string): CollationDifference[] {
  const here = byProvider(now)
  return [...byProvider(then)].flatMap(([provider, was]) => {
    const is = here.get(provider) ?? 'none'
    return was === is ? [] : [{ provider, was, is }]
  })
}

function byProvider(text: string): Map<string, string> {
  const found = new Map<string, string>()
  for (const [, provider = '', version = ''] of text.matchAll(/(\w+) ([^,]+)/g)) {
    const before = found.get(provider)
    found.set(provider, before === undefined ? version : `${before} and ${version}`)
  }
  return found
}
