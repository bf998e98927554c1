import { Button } from 'antd'
import type { ReactNode } from 'react'
import { Link } from 'react-router'
import type { AroundAnswer } from '../../../../src/api/around.ts'
import { useFormats } from '../../formats/formats.ts'
import { useTexts } from '../../language/language.ts'
import type { PlacedSource } from '../../live/systems.ts'
import { type Instant, toInstant } from '../../timeline/instant.ts'
import { writeMoment, writeMomentNear } from '../../timeline/surface.ts'
import type { Choice } from '../../timeline/timeline.tsx'
import { trackKey } from '../../timeline/vault-past.ts'
import { browseLink } from '../links.ts'

interface AroundProps {
  readonly placed: PlacedSource
  readonly answer: AroundAnswer
  readonly choose: (choice: Choice) => void
}
type TransactionRow = AroundAnswer['transactionsBefore'][number]
type FileRow = AroundAnswer['filesBefore'][number]

const exactly = ({ vault, source }: PlacedSource, point: string) => ({ source: trackKey(vault.id, source.id), point })

/** In the order of the log, with a line where the chosen moment is. */
export function AroundTransactions({ placed, answer, choose }: AroundProps): ReactNode {
  const t = useTexts()
  const row = (transaction: TransactionRow): ReactNode => (
    <Transaction
      key={transaction.lsn}
      placed={placed}
      transaction={transaction}
      near={toInstant(answer.moment)}
      choose={choose}
    />
  )
  return (
    <>
      {answer.transactionsMissing === undefined ? null : <p className="quiet">{answer.transactionsMissing}</p>}
      <ul className="around-list around-transactions" aria-label={t.system.transactions}>
        {answer.transactionsBefore.length === 0 ? <li className="quiet">{t.system.noneBefore}</li> : null}
        {answer.transactionsBefore.toReversed().map(row)}
        <Moment />
        {answer.transactionsAfter.map(row)}
        {answer.transactionsAfter.length === 0 ? <li className="quiet">{t.system.noneAfter}</li> : null}
      </ul>
    </>
  )
}

function Transaction({
  placed,
  transaction,
  near,
  choose,
}: {
  readonly placed: PlacedSource
  readonly transaction: TransactionRow
  readonly near: Instant
  readonly choose: (choice: Choice) => void
}): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  const { kind, moment, xid, name, bytes, at, before, lsn } = transaction
  const instant = toInstant(moment)
  const called = name ?? (xid === undefined ? lsn : String(xid))
  return (
    <li>
      <code title={writeMoment(instant)}>{writeMomentNear(instant, near)}</code>
      <span className="around-what">
        {t.timeline.transactionKinds[kind]} {called}
      </span>
      <span className="around-size">{bytes === undefined ? '' : formats.bytes(bytes)}</span>
      <span className="around-deeds">
        <Button
          size="small"
          aria-label={t.system.chooseBefore(called)}
          onClick={() => choose({ at: instant - 1, exact: exactly(placed, before) })}
        >
          {t.system.justBefore}
        </Button>
        <Button
          size="small"
          aria-label={t.system.chooseAfter(called)}
          onClick={() => choose({ at: instant, exact: exactly(placed, at) })}
        >
          {t.system.justAfter}
        </Button>
      </span>
    </li>
  )
}

const Moment = (): ReactNode => {
  const t = useTexts()
  return (
    <li className="around-moment">
      <span>{t.system.theMoment}</span>
    </li>
  )
}

/** Its end: the folders above are often the same. */
const shortened = (path: string): string => {
  const parts = path.split('/')
  return parts.length <= 4 ? path : `…/${parts.slice(-3).join('/')}`
}

export function AroundFiles({ placed, answer, point, choose }: AroundProps & { readonly point: string }): ReactNode {
  const t = useTexts()
  const row = (file: FileRow): ReactNode => (
    <File
      key={`${file.sequence} ${file.path}`}
      placed={placed}
      file={file}
      point={point}
      near={toInstant(answer.moment)}
      choose={choose}
    />
  )
  return (
    <ul className="around-list" aria-label={t.system.files}>
      {answer.filesBefore.length === 0 ? <li className="quiet">{t.system.noneBefore}</li> : null}
      {answer.filesBefore.toReversed().map(row)}
      <Moment />
      {answer.filesAfter.map(row)}
      {answer.filesAfter.length === 0 ? <li className="quiet">{t.system.noneAfter}</li> : null}
    </ul>
  )
}

function File({
  placed,
  file,
  point,
  near,
  choose,
}: {
  readonly placed: PlacedSource
  readonly file: FileRow
  readonly point: string
  readonly near: Instant
  readonly choose: (choice: Choice) => void
}): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  const { path, moment, event, bytes, sequence } = file
  const instant = toInstant(moment)
  const folder = path.slice(0, path.lastIndexOf('/')) || '/'
  return (
    <li>
      <code title={writeMoment(instant)}>{writeMomentNear(instant, near)}</code>
      <Link
        className="around-what"
        title={path}
        to={browseLink({ vault: placed.vault.id, source: placed.source.id, at: point, path: folder })}
      >
        {shortened(path)}
      </Link>
      <span className="around-size">
        {event === 'removed' ? t.system.removed : bytes === undefined ? '' : formats.bytes(bytes)}
      </span>
      <span className="around-deeds">
        <Button
          size="small"
          aria-label={t.system.chooseBefore(path)}
          onClick={() => choose({ at: instant - 1, exact: exactly(placed, `seq:${Math.max(1, sequence - 1)}`) })}
        >
          {t.system.justBefore}
        </Button>
        <Button
          size="small"
          aria-label={t.system.chooseAfter(path)}
          onClick={() => choose({ at: instant, exact: exactly(placed, `seq:${sequence}`) })}
        >
          {t.system.justAfter}
        </Button>
      </span>
    </li>
  )
}

/** What whoever wrote to a volume was told to be safe. */
export function AroundFlushes({ placed, answer, choose }: AroundProps): ReactNode {
  const t = useTexts()
  const row = (text: string, none: string, flush: AroundAnswer['flushBefore']): ReactNode => (
    <li>
      <code>{flush === null ? '–' : writeMoment(toInstant(flush.moment))}</code>
      <span className="around-what">{flush === null ? none : text}</span>
      {flush === null ? null : (
        <Button
          size="small"
          onClick={() => choose({ at: toInstant(flush.moment), exact: exactly(placed, `seq:${flush.sequence}`) })}
        >
          {t.system.justAfter}
        </Button>
      )}
    </li>
  )
  return (
    <ul className="around-list" aria-label={t.system.flushes}>
      {row(t.system.flushBefore, t.system.noneBefore, answer.flushBefore)}
      <Moment />
      {row(t.system.flushAfter, t.system.noneAfter, answer.flushAfter)}
    </ul>
  )
}
