import { join } from 'node:path'
import type { Id } from '../../model/source.ts'

/** Where the index of a source stands in the folder of indexes. */
export const indexLocation = (folder: string, source: Id): string => join(folder, `${source}.sqlite`)
