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
      <AroundList
        name={t.system.transactions}
        before={answer.transactionsBefore.map(row)}
        after={answer.transactionsAfter.map(row)}
      />
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
      <ChooseButtons called={called} placed={placed} instant={instant} before={before} at={at} choose={choose} />
    </li>
  )
}

/** `before` has its nearest first, as `after` does. */
function AroundList({
  name,
  before,
  after,
}: {
  readonly name: string
  readonly before: readonly ReactNode[]
  readonly after: readonly ReactNode[]
}): ReactNode {
  const t = useTexts()
  return (
    <ul className="around-list" aria-label={name}>
      {before.length === 0 ? <li className="quiet">{t.system.noneBefore}</li> : null}
      {before.toReversed()}
      <li className="around-moment">
        <span>{t.system.theMoment}</span>
      </li>
      {after}
      {after.length === 0 ? <li className="quiet">{t.system.noneAfter}</li> : null}
    </ul>
  )
}

/** Chooses the instant before a row or the row itself, each with the exact point of its source. */
function ChooseButtons({
  called,
  placed,
  instant,
  before,
  at,
  choose,
}: {
  readonly called: string
  readonly placed: PlacedSource
  readonly instant: Instant
  readonly before: string
  readonly at: string
  readonly choose: (choice: Choice) => void
}): ReactNode {
  const t = useTexts()
  return (
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
  return <AroundList name={t.system.files} before={answer.filesBefore.map(row)} after={answer.filesAfter.map(row)} />
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
      <ChooseButtons
        called={path}
        placed={placed}
        instant={instant}
        before={`seq:${Math.max(1, sequence - 1)}`}
        at={`seq:${sequence}`}
        choose={choose}
      />
    </li>
  )
}

/** What whoever wrote to a volume was told to be safe. */
export function AroundFlushes({ placed, answer, choose }: AroundProps): ReactNode {
  const t = useTexts()
  const rows = (text: string, flush: AroundAnswer['flushBefore']): ReactNode[] => {
    if (flush === null) return []
    const at = toInstant(flush.moment)
    return [
      <li key={flush.sequence}>
        <code>{writeMoment(at)}</code>
        <span className="around-what">{text}</span>
        <Button size="small" onClick={() => choose({ at, exact: exactly(placed, `seq:${flush.sequence}`) })}>
          {t.system.justAfter}
        </Button>
      </li>,
    ]
  }
  return (
    <AroundList
      name={t.system.flushes}
      before={rows(t.system.flushBefore, answer.flushBefore)}
      after={rows(t.system.flushAfter, answer.flushAfter)}
    />
  )
}
