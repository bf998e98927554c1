import { createReadStream, createWriteStream, renameSync } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import { Malformed } from '../base/bytes.ts'
import { TidemarkError } from '../base/errors.ts'
import { decodeManifest } from '../format/manifest.ts'
import type { Attributes, Content, Extent } from '../model/change.ts'
import { displayName, isWithin, nameOf, parentOf, rootPath, stagingName, type TreePath } from '../model/path.ts'
import { stateFolderName } from './state-folder.ts'

/**
 * What a manifest asks for, one step after the other, in the manifest's own order: a folder before what is in it,
 * everything below it before its next sibling. That order is checked here, at the edge, and it is what makes a hostile
 * manifest harmless: nothing comes twice, and nothing stands below what is not a directory.
 */
export type Step =
  | { readonly kind: 'folder'; readonly path: TreePath; readonly attributes: Attributes | undefined }
  | { readonly kind: 'file'; readonly path: TreePath; readonly attributes: Attributes; readonly content: FileContent }
  /** A file of more extents than one change can hold is told in several steps; all but the last say `more`. */
  | { readonly kind: 'file-part'; readonly path: TreePath; readonly content: FileContent; readonly more: true }
  | { readonly kind: 'node'; readonly path: TreePath; readonly attributes: Attributes; readonly content: NodeContent }
  | { readonly kind: 'link'; readonly path: TreePath; readonly to: TreePath }

export type FileContent = Extract<Content, { type: 'file' }>
export type NodeContent = Exclude<Content, { type: 'file' | 'directory' }>

export interface PlanTotals {
  readonly files: number
  readonly directories: number
  readonly links: number
  /** Symbolic links, fifos, sockets and devices. */
  readonly nodes: number
  readonly devices: number
  /** Of content; holes are not counted. */
  readonly bytes: number
  /** Of content, each file rounded up to whole blocks of the target. */
  readonly spaceBytes: number
}

/** Keeps the manifest in the state folder: a plan that is there is whole. */
export async function keepPlan(pieces: AsyncIterable<Uint8Array>, file: string, signal: AbortSignal): Promise<void> {
  const part = `${file}.part`
  await pipeline(pieces, createWriteStream(part, { mode: 0o600, flush: true }), { signal })
  renameSync(part, file)
}

export const keptPlan = (file: string): AsyncIterable<Uint8Array> =>
  createReadStream(file, { highWaterMark: readBytes }) as AsyncIterable<Uint8Array>

const readBytes = 1024 * 1024

/** The steps of a manifest, checked. Bytes that are not a well-formed tree are a `protocol-violation`. */
export async function* readPlan(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Step> {
  const order = new TreeOrder()
  let held: Step | undefined
  try {
    for await (const changes of decodeManifest(pieces)) {
      for (const change of changes) {
        if (change.kind === 'patch') {
          const continues = held?.kind === 'file' && held.path === change.path && held.content.extents.length > 0
          if (held?.kind !== 'file' || !continues || change.zeros.length > 0) {
            throw new Malformed(`a patch of ${displayName(change.path)} that continues nothing`)
          }
          const { path, content } = held
          yield { kind: 'file-part', path, content, more: true }
          const more: FileContent = { type: 'file', bytes: change.bytes, extents: change.extents }
          held = { kind: 'file', path, attributes: change.attributes, content: more }
          continue
        }
        if (held) yield held
        if (change.kind !== 'put' && change.kind !== 'link') throw new Malformed(`a ${change.kind} in a manifest`)
        const isFolder = change.kind === 'put' && change.content.type === 'directory'
        for (const path of order.enter(change.path, isFolder)) yield { kind: 'folder', path, attributes: undefined }
        held = stepOf(change)
      }
    }
    if (held) yield held
  } catch (error) {
    throw error instanceof Malformed ? refused(error) : error
  }
}

function stepOf(
  change:
    | { kind: 'put'; path: TreePath; attributes: Attributes; content: Content }
    | { kind: 'link'; path: TreePath; to: TreePath },
): Step {
  if (change.kind === 'link') return change
  const { path, attributes, content } = change
  if (content.type === 'directory') return { kind: 'folder', path, attributes }
  if (content.type === 'file') return { kind: 'file', path, attributes, content }
  return { kind: 'node', path, attributes, content }
}

const refused = (error: Malformed): TidemarkError =>
  new TidemarkError('protocol-violation', {
    message: `the vault told a tree that cannot be: ${error.message}; nothing of it was followed`,
    hint: 'run "tidemark verify" on the vault, then restore again',
    cause: error,
  })

/** Keeps track of which folders are open in the order of a manifest, and refuses what does not fit it. */
class TreeOrder {
  /** From the root to the folder told last, each with the last name told in it. */
  readonly #open: { path: TreePath; last: string }[] = [{ path: rootPath, last: '' }]

  /** Takes the next path; returns the folders above it that the manifest has not told, outermost first. */
  enter(path: TreePath, isFolder: boolean): TreePath[] {
    if (path === rootPath) {
      if (!isFolder || this.#open.length > 1 || this.#innermost.last !== '') throw new Malformed('a root within a tree')
      return []
    }
    const top = path.split('/', 1)[0]
    if (top === stateFolderName || top === stagingName) throw new Malformed(`the reserved name ${top}`)
    while (!isWithin(parentOf(path), this.#innermost.path)) this.#open.pop()
    const untold: TreePath[] = []
    for (let above = parentOf(path); above !== this.#innermost.path; above = parentOf(above)) untold.unshift(above)
    for (const folder of untold) this.#tell(folder, true)
    this.#tell(path, isFolder)
    return untold
  }

  get #innermost(): { path: TreePath; last: string } {
    return this.#open.at(-1) as { path: TreePath; last: string }
  }

  #tell(path: TreePath, isFolder: boolean): void {
    const name = nameOf(path)
    if (name <= this.#innermost.last) throw new Malformed(`${displayName(path)} out of order`)
    this.#innermost.last = name
    if (isFolder) this.#open.push({ path, last: '' })
  }
}

export async function countPlan(steps: AsyncIterable<Step>, blockBytes: number): Promise<PlanTotals> {
  const totals = { files: 0, directories: 0, links: 0, nodes: 0, devices: 0, bytes: 0, spaceBytes: 0 }
  for await (const step of steps) {
    switch (step.kind) {
      case 'folder':
        totals.directories++
        break
      case 'link':
        totals.links++
        break
      case 'node':
        totals.nodes++
        if ('major' in step.content) totals.devices++
        break
      case 'file':
      case 'file-part': {
        if (step.kind === 'file') totals.files++
        const bytes = extentBytes(step.content.extents)
        totals.bytes += bytes
        totals.spaceBytes += Math.ceil(bytes / blockBytes) * blockBytes
        break
      }
    }
  }
  return totals
}

export const extentBytes = (extents: readonly Extent[]): number =>
  extents.reduce((sum, extent) => sum + extent.bytes, 0)
