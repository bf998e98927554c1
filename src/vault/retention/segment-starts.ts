import type { KeyObject } from 'node:crypto'
import type { Sequence } from '../../model/sequence.ts'
import type { Id } from '../../model/source.ts'
import type { Store } from '../../store/store.ts'
import { begunSegmentNumbers, openSegment } from '../journal-reader.ts'

/** The first sequences of the segments of a journal, ascending, by their headers. */
export async function* segmentStarts(store: Store, source: Id, journalKey: KeyObject): AsyncGenerator<Sequence> {
  for (const number of await begunSegmentNumbers(store, source)) {
    yield (await openSegment(store, source, journalKey, number)).header.first
  }
}
