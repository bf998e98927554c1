import { isCode } from '../base/errors.ts'
import { nameOf } from '../model/path.ts'
import type { RecoveryPoint } from '../model/recovery-point.ts'
import type { Id } from '../model/source.ts'
import type { TreeFile, TreeReader } from '../postgres-past/tree-reader.ts'
import type { ViewService } from '../vault/views/service.ts'

/** No file that is read so is longer: lists, histories, the lines of baselines. */
const fileBytesMax = 2 ** 40

/** The tree of a source, read in the vault itself. */
export function viewsTreeReader(
  views: ViewService,
  source: Id,
  resolve: (source: Id, point: string) => Promise<RecoveryPoint>,
): TreeReader {
  return {
    resolve: async (point) => {
      const { sequence, moment } = await resolve(source, point)
      return { at: sequence, moment }
    },
    list: async (folder, at) => {
      const files: TreeFile[] = []
      try {
        for await (const page of views.list(source, at, folder))
          for (const { path, type, bytes } of page) if (type === 'file') files.push({ name: nameOf(path), bytes })
      } catch (error) {
        if (!isCode(error, 'not-found')) throw error
      }
      return files
    },
    read: (path, at, range) => views.content(source, at, path, range?.from ?? 0, range?.bytes ?? fileBytesMax),
  }
}
