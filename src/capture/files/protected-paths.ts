import { fromAbsolute, isWithin, type TreePath } from '../../model/path.ts'
import { Exclusion } from './exclude.ts'
import type { AbsolutePath } from './stat.ts'

export interface ProtectedPath {
  readonly path: TreePath
  readonly exclusion: Exclusion
}

export const absolute = (path: TreePath): AbsolutePath => `/${path}` as string as AbsolutePath

/** Which part of the machine's tree belongs to the source. */
export class ProtectedPaths {
  readonly all: readonly ProtectedPath[]
  readonly #never: readonly TreePath[]

  /** `never` are the agent's own directories: what it writes there must not be captured again. */
  constructor(request: { paths: readonly string[]; exclude: readonly string[]; never: readonly string[] }) {
    const paths = request.paths.map(fromAbsolute).sort()
    const outermost = paths.filter((path, index) => !paths.some((other, at) => at < index && isWithin(path, other)))
    this.all = outermost.map((path) => ({ path, exclusion: new Exclusion(request.exclude) }))
    this.#never = request.never.map(fromAbsolute)
  }

  /** The protected path that `path` is or is below. */
  of(path: TreePath): ProtectedPath | undefined {
    return this.all.find((one) => isWithin(path, one.path))
  }

  is(path: TreePath): boolean {
    return this.all.some((one) => one.path === path)
  }

  /** A directory that is in the tree only because a protected path is somewhere below. */
  isAbove(path: TreePath): boolean {
    return this.all.some((one) => one.path !== path && isWithin(one.path, path))
  }

  /** Whether a path belongs to the tree, given that the directory it is in does. */
  admits(path: TreePath, isDirectory: boolean): boolean {
    const within = this.of(path)
    if (within === undefined) return isDirectory && this.isAbove(path)
    if (this.#never.includes(path)) return false
    if (within.path === path) return true
    const start = within.path === '' ? 0 : within.path.length + 1
    return !within.exclusion.excludes(path.slice(start) as TreePath, isDirectory)
  }
}
