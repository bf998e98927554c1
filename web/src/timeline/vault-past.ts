import type { TransactionsAnswer } from '../../../src/api/around.ts'
import type { PointRow } from '../../../src/api/schemas.ts'
import { get, getLines, vaultPath, withQuery } from '../api/client.ts'
import { toInstant, toIso } from './instant.ts'
import type { Transaction } from './landmarks.ts'
import type { TimelineSource } from './surface.ts'
import type { TileTrack } from './tile-cache.ts'
import { columnsOfTile, tileFrom, tileUntil, type TilePlace } from './tiles.ts'

/** Of a source in a vault, as a track has it. */
export const trackKey = (vault: string, source: string): string => `${vault}/${source}`

/** Of one tile; where there are more, zooming in tells the rest. */
const transactionsMax = 1000
/** Stretches of activity, and as many marks and spans. */
const rowsMax = columnsOfTile * 2

const pathOf = ({ key }: TileTrack, path: string): string => {
  const [vault = '', source = ''] = key.split('/')
  return vaultPath(vault, `/sources/${encodeURIComponent(source)}${path}`)
}

/** Nothing is before the window and nothing after the newest change: neither is asked for. */
function span(track: TileTrack, place: TilePlace): { readonly from?: string; readonly to?: string } {
  return {
    ...(tileFrom(place) > (track.earliest ?? 0) ? { from: toIso(tileFrom(place)) } : {}),
    ...(tileUntil(place) <= (track.latest ?? 0) ? { to: toIso(tileUntil(place) - 1) } : {}),
  }
}

/** The vaults, through the console. */
export const vaultPast: TimelineSource = {
  points: (track, place, signal) =>
    getLines<PointRow>(
      withQuery(pathOf(track, '/points'), { ...span(track, place), limit: columnsOfTile, restMs: 0 }),
      rowsMax,
      signal,
    ),

  async transactions(track, place, signal) {
    const path = withQuery(pathOf(track, '/transactions'), { ...span(track, place), limit: transactionsMax })
    const { transactions } = await get<TransactionsAnswer>(path, signal)
    return transactions.map(toTransaction).sort((a, b) => a.at - b.at)
  },
}

const toTransaction = ({
  kind,
  moment,
  xid,
  lsn,
  name,
  bytes,
  at,
  before,
}: TransactionsAnswer['transactions'][number]): Transaction => ({
  kind,
  at: toInstant(moment),
  name: name ?? (xid === undefined ? lsn : String(xid)),
  bytes,
  after: at,
  before,
})
