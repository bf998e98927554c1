import { rootPath, type TreePath } from '../../src/model/path.ts'
import { filled, type Found, type View } from '../../src/vault/views/view.ts'
import { Tree, type TreeNode } from './tree.ts'

/** Everything that a view gives out, bytes and all. */
export async function restored(view: View): Promise<Tree> {
  const names = new Map<TreePath, number>()
  const nodes = new Map<number, TreeNode>()
  for (const found of view.walk(view.find(rootPath))) {
    if (found.path === rootPath) continue
    names.set(found.path, found.node)
    if (!nodes.has(found.node)) nodes.set(found.node, await nodeOf(view, found))
  }
  return Tree.of(names, nodes)
}

async function nodeOf(view: View, found: Found): Promise<TreeNode> {
  const { type, attributes, target, device } = view.entry(found)
  switch (type) {
    case 'file': {
      const pieces: Buffer[] = []
      for await (const piece of filled(view.read(view.version(found.node)!))) pieces.push(piece)
      return { type, attributes, data: Buffer.concat(pieces) }
    }
    case 'symlink':
      return { type, attributes, target: target! }
    case 'character-device':
    case 'block-device':
      return { type, attributes, ...device! }
    default:
      return { type, attributes }
  }
}
