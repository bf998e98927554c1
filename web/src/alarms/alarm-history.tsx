import { useInfiniteQuery } from '@tanstack/react-query'
import { Button } from 'antd'
import type { ReactNode } from 'react'
import type { Alarm } from '../../../src/api/console.ts'
import { get, withQuery } from '../api/client.ts'
import { useTexts } from '../language/language.ts'
import { Empty, Failed, Loading } from '../shell/states.tsx'
import { useAlarmFilter } from './alarm-filter.tsx'
import { AlarmTable } from './alarm-table.tsx'

const pageRows = 50

/** Those that are over, the newest first, as far back as somebody asks. */
export function AlarmHistory(): ReactNode {
  const t = useTexts()
  const { wanted, filter } = useAlarmFilter()
  const { data, error, isLoading, hasNextPage, isFetchingNextPage, fetchNextPage, refetch } = useInfiniteQuery({
    queryKey: ['alarms', wanted],
    queryFn: ({ signal, pageParam }) =>
      get<Alarm[]>(withQuery('/alarms', { ...wanted, open: false, limit: pageRows, before: pageParam }), signal),
    initialPageParam: undefined as number | undefined,
    getNextPageParam: (page) => (page.length < pageRows ? undefined : page.at(-1)?.number),
  })
  const rows = data?.pages.flat() ?? []
  const isFiltered = Object.values(wanted).some((value) => value !== undefined)
  return (
    <>
      {filter}
      {error !== null && data === undefined ? (
        <Failed failure={error} again={() => void refetch()} />
      ) : isLoading ? (
        <Loading rows={6} />
      ) : rows.length === 0 ? (
        <Empty
          title={isFiltered ? t.alarms.noneFound : t.alarms.noHistory}
          hint={isFiltered ? t.alarms.noneFoundHint : t.alarms.noHistoryHint}
        />
      ) : (
        <AlarmTable rows={rows} isOver />
      )}
      {hasNextPage ? (
        <div className="alarms-more">
          <Button loading={isFetchingNextPage} onClick={() => void fetchNextPage()}>
            {t.alarms.older}
          </Button>
        </div>
      ) : null}
    </>
  )
}
