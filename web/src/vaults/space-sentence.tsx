import type { ReactNode } from 'react'
import type { SpaceAnswer } from '../../../src/api/measures.ts'
import { useFormats } from '../formats/formats.ts'
import { useTexts } from '../language/language.ts'
import { useNow } from '../live/live.tsx'

const soonMs = 14 * 86_400_000
const minuteMs = 60_000

/** How it grows and when it will be full. */
export function SpaceSentence({ space: { growthBytesPerDay, full } }: { space: SpaceAnswer }): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  const now = useNow(minuteMs)
  if (growthBytesPerDay === null) return <p className="quiet">{t.vaults.growthUnknown}</p>
  if (full === null) return <p>{t.vaults.noGrowth}</p>
  const isSoon = Date.parse(full) - now < soonMs
  return (
    <p className={isSoon ? 'tone-late' : ''}>
      {t.vaults.grows(formats.bytes(growthBytesPerDay), formats.day(full), formats.duration(Date.parse(full) - now))}
    </p>
  )
}
