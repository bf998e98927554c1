import { join } from 'node:path'
import type { Id } from '../../model/source.ts'

/** Where the index of a source stands in the folder of indexes. */
export const indexLocation = (folder: string, source: Id): string => join(folder, `${source}.sqlite`)

/** The source that a file in that folder belongs to, if it is one of an index. */
export const sourceOfIndexFile = (name: string): string | undefined =>
  /^([0-9a-f]{32})\.sqlite(?:-wal|-shm)?$/.exec(name)?.[1]
