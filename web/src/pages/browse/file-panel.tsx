import { CloseOutlined, DownloadOutlined, RollbackOutlined } from '@ant-design/icons'
import { useQuery } from '@tanstack/react-query'
import { Button, Tabs } from 'antd'
import type { ReactNode } from 'react'
import { Link } from 'react-router'
import type { EntryAnswer } from '../../../../src/api/schemas.ts'
import { get } from '../../api/client.ts'
import { useMay } from '../../api/session.ts'
import { useFormats } from '../../formats/formats.ts'
import { useTexts } from '../../language/language.ts'
import { Failed, Loading } from '../../shell/states.tsx'
import { restoreLink } from '../links.ts'
import { type Browsed, downloadHref, nameOf, type Place, placePath, writeMode } from './place.ts'
import { Preview } from './preview.tsx'
import { Versions } from './versions.tsx'

interface FilePanelProps {
  readonly browsed: Browsed
  readonly place: Place
  readonly isFiles: boolean
  readonly close: () => void
  readonly choosePoint: (point: string) => void
}

/** One file at the chosen moment: what it was, what it held, its other versions. */
export function FilePanel({ browsed, place, isFiles, close, choosePoint }: FilePanelProps): ReactNode {
  const t = useTexts()
  const { data, error, refetch } = useQuery({
    queryKey: ['stat', browsed, place],
    queryFn: ({ signal }) => get<EntryAnswer>(placePath(browsed, 'stat', place), signal),
  })
  return (
    <section className="panel browse-file" aria-label={nameOf(place.path)}>
      <header>
        <h2 title={place.path}>{nameOf(place.path)}</h2>
        <Button type="text" size="small" icon={<CloseOutlined />} aria-label={t.browse.close} onClick={close} />
      </header>
      <div className="panel-body">
        {data === undefined ? null : <Facts browsed={browsed} entry={data} isFiles={isFiles} />}
        <Tabs
          size="small"
          items={[
            {
              key: 'preview',
              label: t.browse.preview,
              children:
                error !== null ? (
                  <Failed failure={error} again={() => void refetch()} />
                ) : data === undefined ? (
                  <Loading rows={5} />
                ) : data.type === 'file' ? (
                  <Preview browsed={browsed} entry={data} />
                ) : (
                  <p className="quiet">
                    {data.target === undefined ? t.browse.types[data.type] : t.browse.linkTo(data.target)}
                  </p>
                ),
            },
            {
              key: 'versions',
              label: t.browse.versions,
              children: <Versions browsed={browsed} place={place} choose={choosePoint} />,
            },
          ]}
        />
      </div>
    </section>
  )
}

function Facts({
  browsed,
  entry,
  isFiles,
}: {
  readonly browsed: Browsed
  readonly entry: EntryAnswer
  readonly isFiles: boolean
}): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  const may = useMay()
  const { path, bytes, modified, mode, uid, gid, type } = entry
  const { vault, source, at } = browsed
  return (
    <>
      <dl className="browse-facts">
        <dt>{t.browse.path}</dt>
        <dd className="browse-path">{path}</dd>
        <dt>{t.browse.size}</dt>
        <dd>{formats.bytes(bytes)}</dd>
        <dt>{t.browse.modified}</dt>
        <dd>{formats.momentExactly(modified)}</dd>
        <dt>{t.browse.attributes}</dt>
        <dd>
          <code>{writeMode(mode)}</code> · {t.browse.owner} {uid}:{gid}
        </dd>
      </dl>
      {type === 'file' ? (
        <div className="browse-deeds">
          <Button icon={<DownloadOutlined />} href={downloadHref(browsed, entry, false)} download={nameOf(path)}>
            {t.browse.download}
          </Button>
          {isFiles && may('restore') ? (
            <Link to={restoreLink({ vault, source, at: at === 'latest' ? undefined : at, path })}>
              <Button icon={<RollbackOutlined />} tabIndex={-1}>
                {t.browse.restore}
              </Button>
            </Link>
          ) : null}
        </div>
      ) : null}
    </>
  )
}
