import type { Sequence } from '../../model/sequence.ts'
import type { Indexer } from '../index/indexer.ts'
import type { IndexWriter } from '../index/index-writer.ts'
import type { Located } from '../index/content-writer.ts'
import type { Piece } from '../index/extent-reader.ts'
import { pieceOf, type Seen } from '../index/runs/paint.ts'
import { endsChunk } from '../index/schema.ts'

/** Made in one transaction, so that indexing goes on in between. */
const rowsAtOnce = 2_000

/**
 * Makes rows of extents, which begin at `at`, of what the runs of packed contents left there. Points before see what they saw,
 * and so do later ones. May be stopped anywhere and begun again, with a later change, too.
 */
export async function foldRuns(indexer: Indexer, at: Sequence): Promise<void> {
  for (const content of indexer.rows.extents.packed.runs.packed()) {
    const after = indexer.rows.extents.packed.runs.folded(content, at)
    if (after === at) continue
    const end = indexer.rows.extents.packed.runs.end(content)
    for (let start = 0, width: number | undefined; start < end;) {
      const folded = await indexer.exclusively((index) => {
        const { packed } = indexer.rows.extents
        const looked = packed.left(content, { start, end }, { after, upTo: at }, width)
        const rest = looked.seen[rowsAtOnce]
        index.transaction(() => fold(index, content, looked.seen.slice(0, rowsAtOnce), at))
        return rest === undefined ? looked : { end: rest.from, width: rest.from - start }
      })
      start = folded.end
      width = folded.width
    }
    await indexer.exclusively((index) =>
      index.transaction(() => index.database.prepare('INSERT INTO folded VALUES (?, ?)').run(content, at)),
    )
  }
}

function fold({ contents }: IndexWriter, content: number, seen: readonly Seen[], at: Sequence): void {
  for (const one of seen) {
    const piece = pieceOf(one)
    if (piece === undefined) contents.foldZeros(content, one.from, one.to, at)
    else contents.fold(content, locatedOf(piece), at)
  }
}

const locatedOf = ({ at, bytes, skip, cut, isEnd, source }: Piece): Located => ({
  at,
  bytes,
  skip,
  cut: cutOf(cut, isEnd),
  location: 'chunk' in source ? Buffer.from(source.chunk, 'latin1') : source.sequence,
})

function cutOf(cut: boolean, isEnd: boolean): number {
  if (!cut) return 0
  return isEnd ? endsChunk : 1
}
