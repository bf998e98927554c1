import { Input } from 'antd'
import { type ReactNode, useState } from 'react'
import { useTexts } from '../language/language.ts'
import { browserZone, type Instant, readLocal } from './instant.ts'
import { writeMoment } from './surface.ts'

/** The chosen moment as text, and any other typed into it. */
export function ExactTime({
  chosen,
  near,
  choose,
}: {
  /** Of its day a time without a day is. */
  readonly near: Instant
  readonly chosen: Instant | undefined
  readonly choose: (at: Instant) => void
}): ReactNode {
  const t = useTexts()
  const [typed, setTyped] = useState<string>()
  const shown = typed ?? (chosen === undefined ? '' : writeMoment(chosen))
  const read = typed === undefined ? undefined : readLocal(typed, browserZone, chosen ?? near)
  const isWrong = typed !== undefined && typed.trim() !== '' && read === undefined
  const take = (): void => {
    if (read !== undefined) choose(read)
    if (!isWrong) setTyped(undefined)
  }
  return (
    <span className="timeline-exact">
      <Input
        size="small"
        value={shown}
        status={isWrong ? 'error' : ''}
        placeholder={t.timeline.exactEmpty}
        aria-label={t.timeline.exactLabel}
        aria-invalid={isWrong}
        onChange={({ target }) => setTyped(target.value)}
        onPressEnter={take}
        onBlur={take}
      />
      {isWrong ? <span role="alert">{t.timeline.exactWrong}</span> : null}
    </span>
  )
}
