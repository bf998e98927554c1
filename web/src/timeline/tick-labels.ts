import { type Instant, toLocal, writeLocal, type Zone } from './instant.ts'
import type { Tick, TickUnit } from './ticks.ts'

/** How moments are written on the axis, in one language and one zone. */
export interface TickLabels {
  fine(tick: Tick): string
  coarse(tick: Tick): string
}

const fineParts: Partial<Record<TickUnit, Intl.DateTimeFormatOptions>> = {
  year: { year: 'numeric' },
  month: { month: 'short' },
  day: { day: 'numeric' },
}
const coarseParts: Partial<Record<TickUnit, Intl.DateTimeFormatOptions>> = {
  year: { year: 'numeric' },
  month: { year: 'numeric', month: 'long' },
  day: { year: 'numeric', month: 'short', day: 'numeric', weekday: 'short' },
}

/** Formats are made once: making one takes longer than drawing a frame. */
export function tickLabels(language: string, zone: Zone): TickLabels {
  const ready = (parts: Partial<Record<TickUnit, Intl.DateTimeFormatOptions>>) =>
    new Map(
      Object.entries(parts).map(([unit, options]) => [
        unit as TickUnit,
        new Intl.DateTimeFormat(language, { ...options, timeZone: 'UTC' }),
      ]),
    )
  const fine = ready(fineParts)
  const coarse = ready(coarseParts)
  const write = (formats: ReadonlyMap<TickUnit, Intl.DateTimeFormat>, { at, unit }: Tick): string =>
    formats.get(unit)?.format(Math.floor(toLocal(at, zone) / 1000)) ?? clockTime(at, unit, zone)
  return { fine: (tick) => write(fine, tick), coarse: (tick) => write(coarse, tick) }
}

function clockTime(at: Instant, unit: TickUnit, zone: Zone): string {
  const text = writeLocal(Math.round(at), zone, 6)
  if (unit === 'minute') return text.slice(11, 16)
  if (unit === 'second') return text.slice(11, 19)
  const fraction = text.slice(20)
  if (fraction === '000000') return text.slice(16, 19)
  return `.${fraction.endsWith('000') ? fraction.slice(0, 3) : fraction}`
}
