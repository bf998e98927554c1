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

/** A file of a Debian package that `scripts/setup.mjs --unpack` has unpacked, and nobody installed. */
export const unpackedFile = (name: string, path: string): string =>
  join(import.meta.dirname, '../../.packages', name, path)

/** The same as `lacking` for packages that are only unpacked. */
export function lackingUnpacked(...names: readonly string[]): string | false {
  const missing = names.filter((name) => !existsSync(unpackedFile(name, '.')))
  return missing.length > 0 && `needs ${missing.join(', ')}: node scripts/setup.mjs --unpack ${missing.join(',')}`
}
