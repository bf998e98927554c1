import { Button, Input, Space } from 'antd'
import { type ReactNode, useState } from 'react'
import { useTexts } from '../../language/language.ts'
import { browserZone, readLocal, toInstant, toIso } from '../../timeline/instant.ts'
import { writeMoment } from '../../timeline/surface.ts'

const isIso = (point: string): boolean => /^\d{4}-\d\d-\d\dT/.test(point)
const isExact = (point: string): boolean => /^(?:seq|mark|xid|before|lsn|flush|name)\b/.test(point)

/** A POINT as text: the newest, a moment typed in the zone of the browser, or what was chosen elsewhere. */
export function PointInput({
  point,
  choose,
  label,
}: {
  readonly point: string
  readonly choose: (point: string) => void
  readonly label: string
}): ReactNode {
  const t = useTexts()
  const [typed, setTyped] = useState<string>()
  const told = point === 'latest' ? '' : isIso(point) ? writeMoment(toInstant(point)) : t.browse.exactPoint(point)
  const text = typed?.trim() ?? ''
  const read =
    typed === undefined ? undefined : readLocal(text, browserZone, toInstant(isIso(point) ? point : nowIso()))
  const isWrong = text !== '' && read === undefined && !isExact(text)
  const take = (): void => {
    if (typed === undefined || isWrong) return
    setTyped(undefined)
    if (read !== undefined) choose(toIso(read))
    else if (text === '') choose('latest')
    else if (text !== told) choose(text)
  }
  return (
    <span className="browse-point">
      <Space.Compact>
        <Input
          value={typed ?? told}
          status={isWrong ? 'error' : ''}
          placeholder={t.browse.newest}
          aria-label={label}
          aria-invalid={isWrong}
          onChange={({ target }) => setTyped(target.value)}
          onPressEnter={take}
          onBlur={take}
        />
        <Button disabled={point === 'latest'} onClick={() => choose('latest')}>
          {t.browse.newest}
        </Button>
      </Space.Compact>
      {isWrong ? (
        <span role="alert" className="tone-bad">
          {t.browse.momentWrong}
        </span>
      ) : null}
    </span>
  )
}

/** Only its day is used, for a time that is typed without one. */
const nowIso = (): string => `${new Date().toISOString().slice(0, 19)}.000000Z`
