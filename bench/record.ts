/** Everything measured, in the order it first came. */
export type Unit =
  | 's'
  | 'ms'
  | 'µs'
  | 'MB'
  | 'MB/s'
  | 'bytes'
  | 'changes/s'
  | 'commits/s'
  | 'requests/s'
  | 'frames/s'
  | 'CPU s'
  | 'CPU s/GiB'

export interface Measure {
  /** The sub-command: `baseline`, … */
  readonly row: string
  readonly what: string
  readonly unit: Unit
}

export interface Figure extends Measure {
  readonly who: string
  readonly values: readonly number[]
}

export const ours = 'Tidemark'

export class Record {
  readonly #figures = new Map<string, Measure & { readonly who: string; readonly values: number[] }>()

  add(measure: Measure, who: string, value: number): void {
    const key = [measure.row, measure.what, who].join('\n')
    const figure = this.#figures.get(key) ?? { ...measure, who, values: [] }
    figure.values.push(value)
    this.#figures.set(key, figure)
  }

  get figures(): readonly Figure[] {
    return [...this.#figures.values()]
  }
}

export const median = (values: readonly number[]): number => {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1
    ? (sorted[middle] as number)
    : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2
}

/** The value that this share of all are not above, of those really measured. */
export const percentile = (values: readonly number[], share: number): number =>
  values.toSorted((a, b) => a - b)[Math.max(0, Math.ceil(values.length * share) - 1)] as number

/** Measures down, contestants across; a peer's median with how many times ours it is. */
export function table(figures: readonly Figure[]): string {
  const contestants = unique(figures.map(({ who }) => who)).toSorted((a, b) => Number(b === ours) - Number(a === ours))
  const lines = unique(figures.map(({ what }) => what)).map((what) => {
    const own = figures.find((figure) => figure.what === what && figure.who === ours)
    const cells = contestants.map((who) =>
      cell(
        figures.find((figure) => figure.what === what && figure.who === who),
        own,
      ),
    )
    const { unit } = figures.find((figure) => figure.what === what) as Figure
    return `| ${what} (${unit}) | ${cells.join(' | ')} |`
  })
  return `| | ${contestants.join(' | ')} |\n|---|${contestants.map(() => '---:|').join('')}\n${lines.join('\n')}\n`
}

function cell(figure: Figure | undefined, own: Figure | undefined): string {
  if (figure === undefined) return ''
  const { values, who } = figure
  const range = values.length > 1 ? ` (${short(Math.min(...values))}–${short(Math.max(...values))})` : ''
  const ratio =
    own === undefined || who === ours || median(own.values) === 0
      ? ''
      : `, ×${short(median(values) / median(own.values))}`
  return `${short(median(values))}${range}${ratio}`
}

export const short = (value: number): string =>
  Math.abs(value) >= 100 ? Math.round(value).toLocaleString('en-US') : value.toPrecision(value >= 10 ? 3 : 2)

const unique = <T>(items: readonly T[]): T[] => [...new Set(items)]
