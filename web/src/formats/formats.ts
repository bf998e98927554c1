import { useMemo } from 'react'
import { useTexts } from '../language/language.ts'
import { formatDuration } from './duration.ts'
import { formatDay, formatMoment, formatMomentExactly, formatShortly, formatShortTime, formatTime } from './moment.ts'
import { formatCount, formatShare } from './number.ts'
import { formatBytes, formatRate } from './size.ts'

const formats = {
  bytes: formatBytes,
  rate: formatRate,
  count: formatCount,
  share: formatShare,
  moment: formatMoment,
  momentExactly: formatMomentExactly,
  shortly: formatShortly,
  day: formatDay,
  time: formatTime,
  shortTime: formatShortTime,
}

export type Formats = typeof formats & { readonly duration: (ms: number) => string }

/** Every number of the interface goes through one of these, so that it has its unit and looks alike everywhere. */
export function useFormats(): Formats {
  const t = useTexts()
  return useMemo(() => ({ ...formats, duration: (ms: number) => formatDuration(ms, t.units) }), [t])
}
