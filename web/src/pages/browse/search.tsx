import { useInfiniteQuery } from '@tanstack/react-query'
import { Button, Checkbox, Input, Table } from 'antd'
import { type ReactNode, useState } from 'react'
import type { SearchRow } from '../../../../src/api/around.ts'
import { sourcePath } from '../../api/around.ts'
import { getLines, withQuery } from '../../api/client.ts'
import { useFormats } from '../../formats/formats.ts'
import { useTexts } from '../../language/language.ts'
import { Empty, Failed, Loading } from '../../shell/states.tsx'
import { toInstant } from '../../timeline/instant.ts'
import { writeMoment } from '../../timeline/surface.ts'
import type { Browsed, Place } from './place.ts'

const rowsOfPage = 200

/** The last line of an answer: from where to go on. */
interface SearchEnd {
  readonly names: number
  readonly next: string | null
}
const isEnd = (line: SearchRow | SearchEnd): line is SearchEnd => 'next' in line

/** Names that were there at any moment of the window. */
export function Search({
  browsed,
  show,
}: {
  readonly browsed: Browsed
  /** A path, at a point at which it is there. */
  readonly show: (place: Place, point: string) => void
}): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  const [name, setName] = useState('')
  const [gone, setGone] = useState(false)
  const { data, error, isFetching, hasNextPage, fetchNextPage, refetch } = useInfiniteQuery({
    queryKey: ['search', browsed.vault, browsed.source, name, gone],
    queryFn: ({ pageParam, signal }) =>
      getLines<SearchRow | SearchEnd>(
        withQuery(sourcePath(browsed.vault, browsed.source, '/search'), {
          name,
          gone,
          limit: rowsOfPage,
          cursor: pageParam,
        }),
        rowsOfPage + 1,
        signal,
      ),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.find(isEnd)?.next ?? undefined,
    enabled: name !== '',
  })
  const rows = (data?.pages ?? []).flatMap((page) => page.filter((line): line is SearchRow => !isEnd(line)))
  return (
    <div className="browse-folder">
      <div className="browse-bar">
        <Input.Search
          allowClear
          enterButton
          placeholder={t.browse.searchName}
          aria-label={t.browse.searchName}
          onSearch={(text) => setName(text.trim())}
        />
        <Checkbox checked={gone} onChange={({ target }) => setGone(target.checked)}>
          {t.browse.searchGone}
        </Checkbox>
      </div>
      {name === '' ? (
        <Empty title={t.browse.search} hint={t.browse.searchHint} />
      ) : error !== null ? (
        <Failed failure={error} again={() => void refetch()} />
      ) : rows.length === 0 && isFetching ? (
        <Loading rows={6} />
      ) : rows.length === 0 ? (
        <Empty title={t.browse.searchNone} hint={t.browse.searchNoneHint} />
      ) : (
        <Table<SearchRow>
          size="small"
          rowKey={(row) => `${row.path} ${row.sinceSequence}`}
          pagination={false}
          dataSource={rows}
          columns={[
            { title: t.browse.name, render: (_, { path }) => <span className="browse-path">{path}</span> },
            {
              title: t.browse.size,
              align: 'right',
              render: (_, { type, bytes }) => (type === 'file' ? formats.bytes(bytes) : ''),
            },
            { title: t.browse.since, render: (_, { since }) => writeMoment(toInstant(since)) },
            {
              title: t.browse.until,
              render: (_, { until }) => (until === null ? t.browse.stillThere : writeMoment(toInstant(until))),
            },
            {
              key: 'show',
              align: 'right',
              render: (_, row) => (
                <Button size="small" onClick={() => show({ path: row.path, pathBytes: row.pathBytes }, pointOf(row))}>
                  {t.browse.showThere}
                </Button>
              ),
            },
          ]}
        />
      )}
      {hasNextPage ? (
        <div className="browse-count">
          <Button size="small" loading={isFetching} onClick={() => void fetchNextPage()}>
            {t.browse.searchMore}
          </Button>
        </div>
      ) : null}
    </div>
  )
}

/** The last point at which it is there. */
const pointOf = ({ untilSequence }: SearchRow): string =>
  untilSequence === null ? 'latest' : `seq:${Math.max(1, untilSequence - 1)}`
