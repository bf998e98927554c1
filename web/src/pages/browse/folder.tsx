import { FileImageOutlined, FileOutlined, FolderFilled, LinkOutlined } from '@ant-design/icons'
import { useQuery } from '@tanstack/react-query'
import { Breadcrumb, Button, Input, Table } from 'antd'
import { type ReactNode, useState } from 'react'
import type { EntryAnswer } from '../../../../src/api/schemas.ts'
import { getLines } from '../../api/client.ts'
import { useFormats } from '../../formats/formats.ts'
import { useTexts } from '../../language/language.ts'
import { Empty, Failed, Loading } from '../../shell/states.tsx'
import { imageTypeOf } from './decode.ts'
import { type Browsed, downloadHref, nameOf, type Place, placePath, writeMode } from './place.ts'

/** More are not read into the page. */
const entriesMax = 100_000
/** What is above and below the table on the page, in pixels. */
const aroundPixels = 330
const heightPixelsMin = 260

interface FolderProps {
  readonly browsed: Browsed
  readonly place: Place
  readonly selected: string | undefined
  readonly open: (place: Place) => void
  readonly select: (entry: EntryAnswer) => void
}

/** One directory at the chosen moment; only the rows that are seen are in the page. */
export function Folder({ browsed, place, selected, open, select }: FolderProps): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  const [filter, setFilter] = useState('')
  const { data, error, isPending, refetch } = useQuery({
    queryKey: ['tree', browsed, place],
    queryFn: ({ signal }) => getLines<EntryAnswer>(placePath(browsed, 'tree', place), entriesMax, signal),
  })
  const wanted = filter.trim().toLowerCase()
  const rows = (data ?? [])
    .filter(({ path }) => wanted === '' || nameOf(path).toLowerCase().includes(wanted))
    .sort(data !== undefined && data.length > naturalMax ? foldersFirst : naturally)
  return (
    <div className="browse-folder">
      <div className="browse-bar">
        <Breadcrumb
          items={crumbsOf(place.path).map(({ name, path }, index, all) => ({
            title:
              index === all.length - 1 ? (
                <strong>{name ?? t.browse.root}</strong>
              ) : (
                <Button type="link" size="small" onClick={() => open({ path })}>
                  {name ?? t.browse.root}
                </Button>
              ),
          }))}
        />
        <Input
          allowClear
          size="small"
          value={filter}
          placeholder={t.browse.filter}
          aria-label={t.browse.filter}
          onChange={({ target }) => setFilter(target.value)}
        />
        <Button size="small" href={downloadHref(browsed, place, true)} download>
          {t.browse.downloadFolder}
        </Button>
      </div>
      {error !== null ? (
        <Failed failure={error} again={() => void refetch()} />
      ) : isPending ? (
        <Loading rows={8} />
      ) : rows.length === 0 ? (
        <Empty title={t.browse.emptyFolder} hint={t.browse.emptyFolderHint} />
      ) : (
        <>
          <Table<EntryAnswer>
            virtual
            size="small"
            rowKey={({ path, pathBytes }) => pathBytes ?? path}
            pagination={false}
            dataSource={rows}
            scroll={{ y: Math.max(heightPixelsMin, window.innerHeight - aroundPixels), x: 560 }}
            rowClassName={({ path }) => (path === selected ? 'row-link browse-selected' : 'row-link')}
            onRow={(entry) => ({ onClick: () => (entry.type === 'directory' ? open(placeOf(entry)) : select(entry)) })}
            columns={[
              {
                title: t.browse.name,
                render: (_, entry) => (
                  <span className="browse-name">
                    <Icon entry={entry} />
                    <button
                      type="button"
                      onClick={(event) => {
                        event.stopPropagation()
                        if (entry.type === 'directory') open(placeOf(entry))
                        else select(entry)
                      }}
                    >
                      {nameOf(entry.path)}
                    </button>
                    {entry.target === undefined ? null : <span className="quiet">{t.browse.linkTo(entry.target)}</span>}
                  </span>
                ),
              },
              {
                title: t.browse.size,
                align: 'right',
                width: 96,
                render: (_, { type, bytes }) => (type === 'file' ? formats.bytes(bytes) : t.browse.types[type]),
              },
              { title: t.browse.modified, width: 176, render: (_, { modified }) => formats.moment(modified) },
              { title: t.browse.attributes, width: 104, render: (_, { mode }) => <code>{writeMode(mode)}</code> },
            ]}
          />
          <p className="browse-count quiet">
            {data.length >= entriesMax
              ? t.browse.entriesCut(formats.count(entriesMax))
              : t.browse.entries(formats.count(rows.length))}
          </p>
        </>
      )}
    </div>
  )
}

const placeOf = ({ path, pathBytes }: EntryAnswer): Place => ({ path, pathBytes })

/** `office-9` before `office-10`; too slow for very many. */
const naturally = (one: EntryAnswer, other: EntryAnswer): number =>
  Number(other.type === 'directory') - Number(one.type === 'directory') || collator.compare(one.path, other.path)
const naturalMax = 5000
const collator = new Intl.Collator(undefined, { numeric: true })

const foldersFirst = (one: EntryAnswer, other: EntryAnswer): number =>
  Number(other.type === 'directory') - Number(one.type === 'directory') || (one.path < other.path ? -1 : 1)

function Icon({ entry }: { readonly entry: EntryAnswer }): ReactNode {
  if (entry.type === 'directory') return <FolderFilled className="browse-icon-folder" />
  if (entry.type === 'symlink') return <LinkOutlined />
  return imageTypeOf(entry.path) === undefined ? <FileOutlined /> : <FileImageOutlined />
}

/** The folders above, the root first, without a name. */
function crumbsOf(path: string): { readonly name: string | undefined; readonly path: string }[] {
  const parts = path.split('/').filter((part) => part !== '')
  return [
    { name: undefined, path: '/' },
    ...parts.map((name, index) => ({ name, path: `/${parts.slice(0, index + 1).join('/')}` })),
  ]
}
