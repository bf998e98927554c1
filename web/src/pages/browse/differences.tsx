import { useQuery } from '@tanstack/react-query'
import { Table } from 'antd'
import type { ReactNode } from 'react'
import type { z } from 'zod'
import type { diffRow } from '../../../../src/api/schemas.ts'
import { sourcePath } from '../../api/around.ts'
import { getLines, withQuery } from '../../api/client.ts'
import { useFormats } from '../../formats/formats.ts'
import { useTexts } from '../../language/language.ts'
import type { Tone } from '../../shell/source-states.ts'
import { Empty, Failed, Loading } from '../../shell/states.tsx'
import { PointInput } from './point-input.tsx'
import type { Browsed, Place } from './place.ts'

type DiffRow = z.infer<typeof diffRow>

const rowsMax = 2000

function toneOf(change: DiffRow['change']): Tone {
  switch (change) {
    case 'added':
      return 'good'
    case 'removed':
      return 'bad'
    case 'content':
      return 'working'
    case 'type':
      return 'late'
    default:
      return 'idle'
  }
}

/** Without the folder that is compared. */
const below = (folder: string, path: string): string =>
  folder !== '/' && path.startsWith(`${folder}/`) ? path.slice(folder.length + 1) : path

/** What differs in a folder between the chosen moment and another. */
export function Differences({
  browsed,
  place,
  to,
  setTo,
  show,
}: {
  readonly browsed: Browsed
  readonly place: Place
  readonly to: string
  readonly setTo: (point: string) => void
  readonly show: (place: Place, point: string) => void
}): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  const { path, pathBytes } = place
  const { data, error, isPending, refetch } = useQuery({
    queryKey: ['diff', browsed, to, place],
    queryFn: ({ signal }) =>
      getLines<DiffRow>(
        withQuery(sourcePath(browsed.vault, browsed.source, '/diff'), {
          from: browsed.at,
          to,
          ...(pathBytes === undefined ? { path } : { pathBytes }),
        }),
        rowsMax,
        signal,
      ),
  })
  return (
    <div className="browse-folder">
      <div className="browse-bar">
        <span>{t.browse.compareHint}</span>
        <span className="browse-to">
          {t.browse.to}
          <PointInput point={to} choose={setTo} label={t.browse.to} />
        </span>
      </div>
      {error !== null ? (
        <Failed failure={error} again={() => void refetch()} />
      ) : isPending ? (
        <Loading rows={6} />
      ) : data.length === 0 ? (
        <Empty title={t.browse.sameMoments} hint={t.browse.sameMomentsHint} />
      ) : (
        <>
          <Table<DiffRow>
            size="small"
            rowKey={(row) => row.pathBytes ?? row.path}
            pagination={{ pageSize: 100, hideOnSinglePage: true, showSizeChanger: false }}
            dataSource={data}
            onRow={(row) => ({
              className: 'row-link',
              onClick: () =>
                show({ path: row.path, pathBytes: row.pathBytes }, row.change === 'added' ? to : browsed.at),
            })}
            columns={[
              {
                title: t.browse.differences,
                width: 150,
                render: (_, { change }) => (
                  <span className={`state-mark tone-${toneOf(change)}`}>{t.browse.changes[change]}</span>
                ),
              },
              {
                title: t.browse.name,
                render: (_, { path: changed }) => (
                  <span className="browse-path" title={changed}>
                    {below(path, changed)}
                  </span>
                ),
              },
            ]}
          />
          {data.length >= rowsMax ? (
            <p className="browse-count quiet">{t.browse.differencesCut(formats.count(rowsMax))}</p>
          ) : null}
        </>
      )}
    </div>
  )
}
