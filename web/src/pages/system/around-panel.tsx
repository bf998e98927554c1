import { Button, Table } from 'antd'
import { type ReactNode, useState } from 'react'
import { type Around, useAround } from '../../api/around.ts'
import { useMay } from '../../api/session.ts'
import { useFormats } from '../../formats/formats.ts'
import { useTexts } from '../../language/language.ts'
import type { PlacedSource } from '../../live/systems.ts'
import type { Tone } from '../../shell/source-states.ts'
import { ToneShape } from '../../shell/state-mark.tsx'
import { FailureLine, Loading } from '../../shell/states.tsx'
import { type Instant, toInstant } from '../../timeline/instant.ts'
import { reasonOf } from '../../timeline/pointed-at.tsx'
import { writeMoment } from '../../timeline/surface.ts'
import type { Choice } from '../../timeline/timeline.tsx'
import { AroundFiles, AroundFlushes, AroundTransactions } from './around-source.tsx'

const nearFirst = 5
const nearMore = 40

interface AroundPanelProps {
  readonly sources: readonly PlacedSource[]
  readonly chosen: Instant | undefined
  readonly pointOf: (placed: PlacedSource) => string
  readonly choose: (choice: Choice | undefined) => void
  readonly deeds: ReactNode
}

/** What the chosen moment holds: the exact point of each source, and what lies next to it. */
export function AroundPanel({ sources, chosen, pointOf, choose, deeds }: AroundPanelProps): ReactNode {
  const t = useTexts()
  const mayLook = useMay()('contents')
  const [limit, setLimit] = useState(nearFirst)
  const around = useAround(sources, pointOf, limit, mayLook)
  return (
    <>
      <header>
        <h2 aria-live="polite">
          {chosen === undefined ? t.system.holdsNewest : t.system.holds(writeMoment(chosen))}
          {chosen === undefined ? null : (
            <Button size="small" type="link" onClick={() => choose(undefined)}>
              {t.system.toNewest}
            </Button>
          )}
        </h2>
        {deeds}
      </header>
      <Gets around={around} chosen={chosen} />
      {mayLook ? (
        <div className="around-details">
          {around.map((one) => (
            <Details key={`${one.placed.vault.id} ${one.placed.source.id}`} around={one} choose={choose} />
          ))}
        </div>
      ) : null}
      {mayLook && limit < nearMore ? (
        <div className="around-more">
          <Button size="small" onClick={() => setLimit(nearMore)}>
            {t.system.more}
          </Button>
        </div>
      ) : null}
    </>
  )
}

function Gets({
  around,
  chosen,
}: {
  readonly around: readonly Around[]
  readonly chosen: Instant | undefined
}): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  return (
    <Table<Around>
      rowKey={({ placed }) => `${placed.vault.id} ${placed.source.id}`}
      size="small"
      pagination={false}
      aria-label={t.system.getsLabel}
      dataSource={[...around]}
      columns={[
        { title: t.system.source, render: (_, { placed }) => <strong>{placed.source.name}</strong> },
        {
          title: t.system.gets,
          render: (_, { gets, failure }) => {
            if (failure !== null) return <FailureLine failure={failure} />
            if (gets === undefined) return '…'
            const at = toInstant(gets.moment)
            const behind = chosen === undefined ? 0 : chosen - at
            return (
              <>
                <code>{writeMoment(at)}</code>{' '}
                <span className="quiet">
                  {t.system.sequence(formats.count(gets.sequence))}
                  {behind >= 1000 ? ` · ${t.system.getsBehind(formats.duration(behind / 1000))}` : ''}
                </span>
              </>
            )
          },
        },
        {
          title: t.system.quality,
          className: 'whole',
          render: (_, { gets }) => {
            if (gets === undefined) return ''
            if (gets.suspect !== undefined)
              return <Quality tone="late">{t.system.suspect(reasonOf(gets.suspect.replace(/^.*: /, ''), t))}</Quality>
            return gets.settled ? (
              <Quality tone="good">{t.system.settled}</Quality>
            ) : (
              <Quality tone="working">{t.system.unsettled}</Quality>
            )
          },
        },
      ]}
    />
  )
}

const Quality = ({ tone, children }: { readonly tone: Tone; readonly children: string }): ReactNode => (
  <span className={`state-mark tone-${tone}`}>
    <ToneShape tone={tone} />
    {children}
  </span>
)

function Details({
  around,
  choose,
}: {
  readonly around: Around
  readonly choose: (choice: Choice) => void
}): ReactNode {
  const { placed, near: answer, failure } = around
  if (failure !== null && answer === undefined) return null
  return (
    <section aria-label={placed.source.name}>
      <h3>{placed.source.name}</h3>
      {answer === undefined ? (
        <Loading rows={3} />
      ) : placed.source.kind === 'postgres' ? (
        <AroundTransactions placed={placed} answer={answer} choose={choose} />
      ) : placed.source.kind === 'volume' ? (
        <AroundFlushes placed={placed} answer={answer} choose={choose} />
      ) : (
        <AroundFiles placed={placed} answer={answer} point={around.point} choose={choose} />
      )}
    </section>
  )
}
