import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'

/** What was found when something restored was held against a record made without Tidemark. */
export interface Comparison {
  readonly compared: number
  readonly differences: readonly string[]
}

export const digest = (content: Uint8Array | string): string => createHash('sha256').update(content).digest('hex')

/** Every regular file below a directory, by its path there. */
export function filesBelow(directory: string, prefix = ''): string[] {
  return readdirSync(join(directory, prefix), { withFileTypes: true }).flatMap((item) => {
    const name = prefix === '' ? item.name : `${prefix}/${item.name}`
    return item.isDirectory() ? filesBelow(directory, name) : item.isFile() ? [name] : []
  })
}

/** Every regular file below a directory with the digest of its bytes. */
export const digestTree = (directory: string): Map<string, string> =>
  new Map(filesBelow(directory).map((name) => [name, digest(readFileSync(join(directory, name)))]))

export const treeBytes = (directory: string): number =>
  filesBelow(directory).reduce((sum, name) => sum + statSync(join(directory, name)).size, 0)

/** Files, or rows, by name: `record` says what should be there. */
export function compare(record: ReadonlyMap<string, string>, restored: ReadonlyMap<string, string>): Comparison {
  const differences: string[] = []
  for (const [name, value] of record) {
    if (!restored.has(name)) differences.push(`missing: ${name}`)
    else if (restored.get(name) !== value) differences.push(`different: ${name}`)
  }
  for (const name of restored.keys()) if (!record.has(name)) differences.push(`too much: ${name}`)
  return { compared: record.size, differences }
}
