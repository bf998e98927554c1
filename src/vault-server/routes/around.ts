import type { z } from 'zod'
import {
  type AroundAnswer,
  aroundAnswer,
  aroundRequest,
  type fileRow,
  type TransactionRow,
  transactionsAnswer,
  transactionsRequest,
} from '../../api/around.ts'
import { isCode, TidemarkError } from '../../base/errors.ts'
import { formatLsn, type Timeline, timeline } from '../../model/lsn.ts'
import { isoMoment, type Moment } from '../../model/moment.ts'
import { parsePostgresPoint, type PostgresPoint } from '../../model/postgres-point.ts'
import type { RecoveryPoint } from '../../model/recovery-point.ts'
import type { Id, SourceDefinition } from '../../model/source.ts'
import {
  type Bound,
  branchOf,
  listTransactions,
  pointOf,
  type Recoverable,
  transactionsAround,
} from '../../postgres-past/transactions.ts'
import type { FileRow, Place } from '../../vault/views/around.ts'
import { readableSource } from '../access.ts'
import { tellPath, tellRecoveryPoint } from '../answers.ts'
import { named } from '../asked.ts'
import type { Context } from '../context.ts'
import type { Http } from '../../http/server.ts'
import { resolvePoint } from '../resolve-point.ts'
import { viewsTreeReader } from '../views-tree-reader.ts'

/** What a moment holds: transactions, files, flushes and marks around it. */
export function aroundRoutes(http: Http, context: Context): void {
  const { derived, clock } = context
  const resolve = (source: Id, point: string): Promise<RecoveryPoint> => resolvePoint(context, source, point)
  const treeOf = ({ id }: SourceDefinition) => viewsTreeReader(derived.views, id, resolve)
  const now = (): Moment => clock.now() as Moment

  http.get(
    '/v1/sources/:source/around',
    {
      schema: {
        summary: 'What a moment holds, and what lies around it',
        params: named,
        querystring: aroundRequest,
        response: { 200: aroundAnswer },
      },
    },
    async (request): Promise<AroundAnswer> => {
      const source = readableSource(context, request.caller, request.params.source)
      const { at, limit } = request.query
      const place = source.kind === 'postgres' ? parsePostgresPoint(at, now()) : undefined
      const transactions = await transactionsOf(source, place, limit)
      const point = await resolve(source.id, journalPoint(at, place, transactions))
      const around = await derived.views.around(source.id, point.sequence, { limit, files: source.kind === 'files' })
      return {
        ...tellRecoveryPoint(point),
        ...transactions,
        filesBefore: around.filesBefore.map(tellFile),
        filesAfter: around.filesAfter.map(tellFile),
        flushBefore: around.flushBefore === undefined ? null : tellPlace(around.flushBefore),
        flushAfter: around.flushAfter === undefined ? null : tellPlace(around.flushAfter),
        marksBefore: around.marksBefore.map(({ label, ...mark }) => ({ label, ...tellPlace(mark) })),
        marksAfter: around.marksAfter.map(({ label, ...mark }) => ({ label, ...tellPlace(mark) })),
      }
    },
  )

  const transactionsOf = async (
    source: SourceDefinition,
    point: PostgresPoint | undefined,
    limit: number,
  ): Promise<Pick<AroundAnswer, 'transactionsBefore' | 'transactionsAfter' | 'transactionsMissing'>> => {
    if (point === undefined) return { transactionsBefore: [], transactionsAfter: [] }
    try {
      const { before, after } = await transactionsAround(treeOf(source), point, limit)
      const tell = (row: Recoverable): TransactionRow => tellTransaction(row, branchOf(point))
      return { transactionsBefore: before.map(tell), transactionsAfter: after.map(tell) }
    } catch (error) {
      // The journal may have such a place, of a time when nothing could be recovered yet.
      const isPlace = point.kind === 'moment' || point.kind === 'journal'
      if (!isPlace || !(error instanceof TidemarkError) || !isCode(error, 'point-unreachable')) throw error
      return { transactionsBefore: [], transactionsAfter: [], transactionsMissing: error.message }
    }
  }

  http.get(
    '/v1/sources/:source/transactions',
    {
      schema: {
        summary: 'Transactions of a PostgreSQL source in a span',
        params: named,
        querystring: transactionsRequest,
        response: { 200: transactionsAnswer },
      },
    },
    async (request) => {
      const source = readableSource(context, request.caller, request.params.source)
      if (source.kind !== 'postgres') throw noTransactions(source)
      const { from, to, limit, order, timeline: told } = request.query
      const branch = told === undefined ? undefined : timeline(told)
      const bound = (text: string | undefined): Bound | undefined =>
        text === undefined || text === 'latest' ? undefined : parseBound(text, now())
      const wanted = { from: bound(from), to: bound(to), limit, order, timeline: branch }
      const { rows, more } = await listTransactions(treeOf(source), wanted).catch((error: unknown) => {
        // Before its first baseline is complete there is nothing to recover to, which is an answer as well.
        const isYoung = told === undefined && (isCode(error, 'point-unreachable') || isCode(error, 'not-found'))
        if (!isYoung) throw error
        return { rows: [], more: false }
      })
      return { transactions: rows.map((row) => tellTransaction(row, branch)), more }
    },
  )
}

/** Of a place in the WAL the journal is looked at when its last transaction was committed. */
function journalPoint(
  at: string,
  place: PostgresPoint | undefined,
  {
    transactionsBefore: [last],
    transactionsAfter: [next],
  }: Pick<AroundAnswer, 'transactionsBefore' | 'transactionsAfter'>,
): string {
  if (place === undefined || place.kind === 'moment' || place.kind === 'journal') return at
  return last?.moment ?? next?.moment ?? 'latest'
}

function parseBound(text: string, now: Moment): Bound {
  const point = parsePostgresPoint(text, now)
  if (point.kind === 'moment') return { moment: point.moment }
  if (point.kind === 'lsn') return { lsn: point.lsn, inclusive: point.inclusive }
  throw new TidemarkError('bad-request', {
    message: `${text} is neither a moment nor an LSN`,
    hint: 'give "10m ago", "2026-11-22 14:03:11" or "lsn:0/3000D18"',
  })
}

const noTransactions = ({ name, kind }: SourceDefinition): TidemarkError =>
  new TidemarkError('bad-request', {
    message: `"${name}" is of kind ${kind}; only a PostgreSQL source has transactions`,
    hint: 'list its points',
  })

function tellTransaction(row: Recoverable, branch: Timeline | undefined): TransactionRow {
  const { entry, timeline: on, bytes } = row
  const transaction = entry.kind === 'restore-point' ? undefined : entry
  const name = entry.kind === 'restore-point' ? entry.name : 'gid' in entry ? entry.gid : undefined
  return {
    kind: entry.kind,
    moment: isoMoment(entry.time),
    ...(transaction === undefined ? {} : { xid: transaction.xid }),
    lsn: formatLsn(entry.start),
    end: formatLsn(entry.end),
    timeline: on,
    ...(transaction?.database === undefined ? {} : { database: String(transaction.database) }),
    ...(transaction === undefined ? {} : { subtransactions: transaction.subtransactions }),
    ...(bytes === undefined ? {} : { bytes }),
    ...(name === undefined ? {} : { name }),
    at: pointOf(row, 'after', branch),
    before: pointOf(row, 'before', branch),
  }
}

const tellPlace = ({ sequence, moment }: Place): { sequence: number; moment: string } => ({
  sequence,
  moment: isoMoment(moment),
})

function tellFile({ event, path, type, bytes, ...place }: FileRow): z.infer<typeof fileRow> {
  return { ...tellPath(path), event, type, ...tellPlace(place), ...(bytes === undefined ? {} : { bytes }) }
}
