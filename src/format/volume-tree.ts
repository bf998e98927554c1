import type { TreePath } from '../model/path.ts'

/** The tree of a source of kind `volume`: one file, as long as the volume. */
export const diskPath = 'disk' as TreePath
