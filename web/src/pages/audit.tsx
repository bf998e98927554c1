import { DownloadOutlined, SafetyCertificateOutlined } from '@ant-design/icons'
import { useInfiniteQuery } from '@tanstack/react-query'
import { Button, DatePicker, Dropdown, Input, Table } from 'antd'
import { type ReactNode, useState } from 'react'
import type { z } from 'zod'
import type { AuditRecord, auditVerification } from '../../../src/api/console.ts'
import { useChange } from '../api/changes.ts'
import { get, request, withQuery } from '../api/client.ts'
import { useFormats } from '../formats/formats.ts'
import { useTexts } from '../language/language.ts'
import { ToneShape } from '../shell/state-mark.tsx'
import { Empty, Failed, FailureLine, Loading } from '../shell/states.tsx'
import '../alarms/alarms.css'

interface Wanted {
  readonly text?: string | undefined
  readonly from?: string | undefined
  readonly to?: string | undefined
}

const pageRows = 100
const tones = { done: 'tone-good', refused: 'tone-late', failed: 'tone-bad' } as const

/** Who did what, and who was refused: the newest first. */
export function Component(): ReactNode {
  const t = useTexts()
  const [wanted, want] = useState<Wanted>({})
  const { data, error, isLoading, hasNextPage, isFetchingNextPage, fetchNextPage, refetch } = useInfiniteQuery({
    queryKey: ['audit', wanted],
    queryFn: ({ signal, pageParam }) =>
      get<AuditRecord[]>(withQuery('/audit', { ...wanted, limit: pageRows, before: pageParam }), signal),
    initialPageParam: undefined as number | undefined,
    getNextPageParam: (page) => (page.length < pageRows ? undefined : page.at(-1)?.number),
  })
  const rows = data?.pages.flat() ?? []
  return (
    <div className="stack">
      <section className="panel" aria-labelledby="audit-title">
        <header>
          <h2 id="audit-title">{t.audit.title}</h2>
          <ExportMenu wanted={wanted} />
        </header>
        <Verification />
        <Filter wanted={wanted} want={want} />
        {error !== null && data === undefined ? (
          <Failed failure={error} again={() => void refetch()} />
        ) : isLoading ? (
          <Loading rows={8} />
        ) : rows.length === 0 ? (
          <Empty title={t.audit.none} hint={t.audit.noneHint} />
        ) : (
          <Records rows={rows} />
        )}
        {hasNextPage ? (
          <div className="alarms-more">
            <Button loading={isFetchingNextPage} onClick={() => void fetchNextPage()}>
              {t.audit.older}
            </Button>
          </div>
        ) : null}
      </section>
    </div>
  )
}

function Filter({ wanted, want }: { wanted: Wanted; want: (wanted: Wanted) => void }): ReactNode {
  const t = useTexts()
  return (
    <div className="alarms-filter">
      <DatePicker.RangePicker
        showTime
        aria-label={t.audit.span}
        onChange={(span) =>
          want({
            ...wanted,
            from: span?.[0] == null ? undefined : microseconds(span[0].toISOString()),
            to: span?.[1] == null ? undefined : microseconds(span[1].toISOString()),
          })
        }
      />
      <Input.Search
        allowClear
        placeholder={t.audit.find}
        aria-label={t.audit.find}
        onSearch={(text) => want({ ...wanted, text: text === '' ? undefined : text })}
      />
    </div>
  )
}

/** As the console writes moments. */
const microseconds = (iso: string): string => iso.replace('Z', '000Z')

function ExportMenu({ wanted }: { wanted: Wanted }): ReactNode {
  const t = useTexts()
  const link = (format: 'csv' | 'jsonl', words: string): ReactNode => (
    <a href={`/api${withQuery('/audit/export', { ...wanted, format })}`} download>
      {words}
    </a>
  )
  return (
    <Dropdown
      trigger={['click']}
      menu={{
        items: [
          { key: 'csv', label: link('csv', t.audit.exportCsv) },
          { key: 'jsonl', label: link('jsonl', t.audit.exportLines) },
        ],
      }}
    >
      <Button icon={<DownloadOutlined />}>{t.audit.exportAs}</Button>
    </Dropdown>
  )
}

function Verification(): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  const [found, setFound] = useState<z.infer<typeof auditVerification> | null>(null)
  const { ask, isBusy, failure } = useChange(
    async () => setFound(await request<z.infer<typeof auditVerification>>('POST', '/audit/verification')),
    { touches: [['audit']] },
  )
  return (
    <div className="alarms-filter">
      <Button icon={<SafetyCertificateOutlined />} loading={isBusy} onClick={() => void ask(undefined)}>
        {isBusy ? t.audit.verifying : t.audit.verify}
      </Button>
      <FailureLine failure={failure} />
      {found === null ? null : (
        <div className="audit-verified" role={found.intact ? 'status' : 'alert'}>
          <ToneShape tone={found.intact ? 'good' : 'bad'} />
          <div className="alarm-sentence">
            <strong>
              {found.intact
                ? t.audit.intact(formats.count(found.records))
                : t.audit.broken(formats.count(found.firstBroken ?? 0))}
            </strong>
            <span className="quiet">{found.intact ? t.audit.intactHint : t.audit.brokenHint}</span>
            <span className="quiet">
              {t.audit.lastHash} <code>{found.lastHash}</code>
            </span>
          </div>
        </div>
      )}
    </div>
  )
}

const exactly = ({ detail }: AuditRecord): ReactNode => <code className="alarm-sentence">{detail}</code>

function Records({ rows }: { rows: readonly AuditRecord[] }): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  return (
    <Table<AuditRecord>
      className="alarm-table"
      rowKey="number"
      size="small"
      pagination={false}
      scroll={{ x: 1000 }}
      dataSource={[...rows]}
      expandable={{
        rowExpandable: ({ detail }) => detail !== '',
        expandedRowRender: exactly,
      }}
      columns={[
        { title: t.audit.number, width: 64, align: 'right', render: (_, { number }) => number },
        { title: t.audit.at, width: 190, render: (_, { at }) => formats.momentExactly(at) },
        {
          title: t.audit.user,
          width: 130,
          render: (_, { user, address }) =>
            user ?? <span className="quiet">{address === 'console' ? t.audit.commandLine : t.audit.nobody}</span>,
        },
        {
          title: t.audit.address,
          width: 110,
          render: (_, { address }) => (address === 'console' ? t.audit.ownMachine : address),
        },
        {
          title: t.audit.action,
          width: 170,
          render: (_, { action }) => (
            <span title={action}>
              {action in t.audit.actions ? t.audit.actions[action as keyof typeof t.audit.actions] : action}
            </span>
          ),
        },
        {
          title: t.audit.subject,
          render: (_, { subject }) => <div className="alarm-sentence">{subject}</div>,
        },
        {
          title: t.audit.outcome,
          width: 76,
          render: (_, { outcome }) => <span className={tones[outcome]}>{t.audit.outcomes[outcome]}</span>,
        },
        { title: t.audit.hash, width: 100, render: (_, { hash }) => <code title={hash}>{hash.slice(0, 10)}</code> },
      ]}
    />
  )
}
