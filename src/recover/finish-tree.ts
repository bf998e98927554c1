import { fchmodSync, linkSync, lstatSync, unlinkSync } from 'node:fs'
import { isSystemError, messageOf, systemCode } from '../base/errors.ts'
import type { Attributes } from '../model/change.ts'
import { displayName, isWithin, rootPath, type TreePath } from '../model/path.ts'
import { applyAttributes, dropForeignAcls } from './attributes.ts'
import type { Folders } from './folders.ts'
import type { Step } from './plan.ts'
import type { Tally } from './receipt.ts'

/** Hard links, once the files they name are there. */
export async function makeLinks(steps: AsyncIterable<Step>, folders: Folders, tally: Tally): Promise<void> {
  for await (const step of steps) {
    if (step.kind !== 'link') continue
    try {
      makeLink(folders, step.to, step.path)
      tally.links++
    } catch (error) {
      if (systemCode(error) === undefined) throw error
      const reason = isSystemError(error, 'ENOENT')
        ? `is a hard link to ${displayName(step.to)}, which was not restored`
        : messageOf(error)
      tally.fail({ path: step.path, reason })
    }
  }
}

function makeLink(folders: Folders, existing: TreePath, path: TreePath): void {
  try {
    linkSync(folders.place(existing), folders.place(path))
  } catch (error) {
    if (!isSystemError(error, 'EEXIST')) throw error
    // An earlier run made it; the file may have been written anew since.
    const [wanted, found] = [existing, path].map((name) => lstatSync(folders.place(name), { bigint: true }))
    if (wanted?.ino === found?.ino) return
    unlinkSync(folders.place(path))
    linkSync(folders.place(existing), folders.place(path))
  }
}

/**
 * Gives folders their attributes, once nothing is made in them any more: each after all that is below it, as a mode
 * may keep an owner who is not root from going in.
 */
export async function dressFolders(steps: AsyncIterable<Step>, folders: Folders, tally: Tally): Promise<void> {
  const open: { path: TreePath; attributes: Attributes | undefined }[] = []
  for await (const step of steps) {
    while (open.length > 0 && !isWithin(step.path, (open.at(-1) as { path: TreePath }).path)) dressLast()
    if (step.kind === 'folder') open.push(step)
  }
  while (open.length > 0) dressLast()

  function dressLast(): void {
    const last = open.pop()
    if (last) dress(last.path, last.attributes, folders, tally)
  }
}

/** Of folders above a protected path, of which the journal knows only the name. */
const untoldMode = 0o755

function dress(path: TreePath, attributes: Attributes | undefined, folders: Folders, tally: Tally): void {
  const descriptor = folders.descriptor(path)
  if (attributes === undefined) {
    if (path !== rootPath) fchmodSync(descriptor, untoldMode)
    return
  }
  const place = folders.placeText(path)
  dropForeignAcls(place, attributes)
  applyAttributes({ place, descriptor, path }, attributes, tally.notes)
}
