import { useQuery } from '@tanstack/react-query'
import { Button } from 'antd'
import type { ReactNode } from 'react'
import type { z } from 'zod'
import type { historyRow } from '../../../../src/api/schemas.ts'
import { sourcePath } from '../../api/around.ts'
import { getLines, withQuery } from '../../api/client.ts'
import { useFormats } from '../../formats/formats.ts'
import { useTexts } from '../../language/language.ts'
import { Failed, Loading } from '../../shell/states.tsx'
import { toInstant } from '../../timeline/instant.ts'
import { writeMoment } from '../../timeline/surface.ts'
import type { Browsed, Place } from './place.ts'

type HistoryRow = z.infer<typeof historyRow>

const rowsMax = 20_000
const shownMax = 500

/** Every version of one path within the window, the newest first. */
export function Versions({
  browsed,
  place,
  choose,
}: {
  readonly browsed: Browsed
  readonly place: Place
  readonly choose: (point: string) => void
}): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  const { path, pathBytes } = place
  const { data, error, refetch } = useQuery({
    queryKey: ['history', browsed.vault, browsed.source, path, pathBytes],
    queryFn: ({ signal }) =>
      getLines<HistoryRow>(
        withQuery(
          sourcePath(browsed.vault, browsed.source, '/history'),
          pathBytes === undefined ? { path } : { pathBytes },
        ),
        rowsMax,
        signal,
      ),
  })
  if (error !== null) return <Failed failure={error} again={() => void refetch()} />
  if (data === undefined) return <Loading rows={4} />
  return (
    <>
      <ul className="browse-versions">
        {data
          .slice(-shownMax)
          .reverse()
          .map((row) => (
            <li key={row.sequence}>
              <code>{writeMoment(toInstant(row.moment))}</code>
              <span>
                {row.event === 'removed' ? t.browse.removed : t.browse.version(formats.bytes(row.bytes ?? 0))}
              </span>
              {row.event === 'removed' ? null : browsed.at === `seq:${row.sequence}` ? (
                <span className="quiet">{t.browse.shown}</span>
              ) : (
                <Button size="small" onClick={() => choose(`seq:${row.sequence}`)}>
                  {t.browse.showVersion}
                </Button>
              )}
            </li>
          ))}
      </ul>
      {data.length > shownMax ? <p className="quiet">{t.browse.versionsCut(formats.count(shownMax))}</p> : null}
    </>
  )
}
