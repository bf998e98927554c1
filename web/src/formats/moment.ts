import dayjs from 'dayjs'

/** Moments are shown in the time zone of the browser, which stands in the header of every page. */

/** `2026-11-23 14:03:07.214`: where one second has many changes. */
export const formatMomentExactly = (moment: string | number): string => dayjs(moment).format('YYYY-MM-DD HH:mm:ss.SSS')

/** `2026-11-23 14:03:07`. */
export const formatMoment = (moment: string | number): string => dayjs(moment).format('YYYY-MM-DD HH:mm:ss')

/** `2026-11-23`. */
export const formatDay = (moment: string | number): string => dayjs(moment).format('YYYY-MM-DD')

/** `14:03:07`. */
export const formatTime = (moment: string | number): string => dayjs(moment).format('HH:mm:ss')

/** `14:03`. */
export const formatShortTime = (moment: string | number): string => dayjs(moment).format('HH:mm')

/** `14:03:07` today, `11-22 14:03` of another day. */
export function formatShortly(moment: string | number, nowMs: number): string {
  const at = dayjs(moment)
  return at.format(at.isSame(nowMs, 'day') ? 'HH:mm:ss' : 'MM-DD HH:mm')
}

/** `UTC+08:00`. */
export const zoneName = (): string => `UTC${dayjs().format('Z')}`
