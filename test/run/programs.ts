import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'

/**
 * For the `skip` of a test that has an outside program judge ours: false where all of `programs` are on the PATH.
 *
 *   test('rsync finds no difference', { skip: lacking('rsync') }, async () => …)
 */
export function lacking(...programs: readonly string[]): string | false {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin']
  const missing = programs.filter((program) => !folders.some((folder) => existsSync(join(folder, program))))
  return missing.length > 0 && `needs ${missing.join(', ')}`
}
