import { type BinaryString, rootPath, type TreePath } from '../../model/path.ts'
import type { IndexReader } from '../index/index-reader.ts'
import { forever, rootNode } from '../index/schema.ts'

/** One of the paths of a node at a sequence; undefined where it has none. */
export function pathOf(rows: IndexReader, node: number, at: number): TreePath | undefined {
  const names: BinaryString[] = []
  for (let next = node; next !== rootNode;) {
    const [entry] = rows.namesOf(next, at)
    if (entry === undefined) return undefined
    names.unshift(rows.sealing.openName(entry.name))
    next = entry.parent
  }
  return names.join('/') as TreePath
}

/** What a path meant, for the time it meant that. */
export interface PathSpan {
  readonly node: number
  readonly type: number
  readonly since: number
  readonly until: number
}

/** Everything that a path ever meant, oldest first; whatever was moved there with a directory above it included. */
export function spansOf(rows: IndexReader, path: TreePath): PathSpan[] {
  let spans: PathSpan[] = [{ node: rootNode, type: 0, since: 0, until: forever }]
  for (const name of path === rootPath ? [] : path.split('/')) {
    spans = spans.flatMap((above) =>
      rows
        .childThroughTime(above.node, name as BinaryString)
        .map(({ node, type, since, until }) => ({
          node,
          type,
          since: Math.max(since, above.since),
          until: Math.min(until, above.until),
        }))
        .filter(({ since, until }) => since < until),
    )
  }
  return spans
}
