import { memo, type PointerEvent, type ReactNode } from 'react'
import { useFormats } from '../formats/formats.ts'
import { useTexts } from '../language/language.ts'
import { runsOf, stepColour, upperBound, worstStrip } from './strip-colours.ts'

/** One step that is pointed at. */
export interface PointedStep {
  readonly system: string
  readonly step: number
  readonly digit: number
}

/**
 * The last 24 hours of one system, by its lag. `strips` are those of its sources, with spaces between: a text, so that the many
 * renderings of a page that lives draw it anew only when it is another one.
 */
export const Strip = memo(function OneStrip({
  system,
  strips,
  lagMsMax,
  onPoint,
}: {
  system: string
  strips: string
  lagMsMax: number
  onPoint?: (step: PointedStep | null) => void
}): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  const lagWords = useLagWords()
  const digits = worstStrip(strips.split(' '))
  const measured = digits.filter((digit) => digit > 1)
  const late = measured.filter((digit) => ['late', 'bad'].includes(stepColour(digit, lagMsMax))).length
  const label =
    measured.length === 0
      ? t.overview.stripNothing
      : t.overview.stripLabel(lagWords(Math.max(...measured)), formats.share(late / measured.length))
  const point = (event: PointerEvent<SVGSVGElement>): void => {
    const { left, width } = event.currentTarget.getBoundingClientRect()
    const step = Math.min(digits.length - 1, Math.max(0, Math.floor(((event.clientX - left) / width) * digits.length)))
    onPoint?.({ system, step, digit: digits[step] ?? 0 })
  }
  return (
    <svg
      className="strip"
      viewBox={`0 0 ${Math.max(1, digits.length)} 1`}
      preserveAspectRatio="none"
      role="img"
      aria-label={label}
      onPointerMove={onPoint && point}
      onPointerLeave={onPoint && (() => onPoint(null))}
    >
      {runsOf(digits, lagMsMax).map(({ colour, from, steps }) => (
        <rect key={from} className={`strip-${colour}`} x={from} width={steps} height={1} />
      ))}
    </svg>
  )
})

/** What a digit of a strip says, in words. */
export function useLagWords(): (digit: number) => string {
  const t = useTexts()
  const formats = useFormats()
  return (digit) => {
    if (digit === 0) return t.overview.notMeasured
    if (digit === 1) return t.overview.lagUnknown
    const bound = upperBound(digit)
    return bound === null ? t.overview.lagAboveAll : t.overview.lagUpTo(formats.duration(bound))
  }
}

export function StripLegend(): ReactNode {
  const t = useTexts()
  const keys = [
    ['1', t.overview.legend.second],
    ['2', t.overview.legend.seconds],
    ['3', t.overview.legend.allowed],
    ['late', t.overview.legend.late],
    ['bad', t.overview.legend.bad],
    ['none', t.overview.legend.none],
  ] as const
  return (
    <ul className="strip-legend">
      {keys.map(([colour, text]) => (
        <li key={colour}>
          <span className={`strip-key strip-${colour}`} />
          {text}
        </li>
      ))}
    </ul>
  )
}
