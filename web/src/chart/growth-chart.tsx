import { LineChart } from 'echarts/charts'
import { GridComponent, TooltipComponent } from 'echarts/components'
import { init, use as load } from 'echarts/core'
import { CanvasRenderer } from 'echarts/renderers'
import { type ReactNode, useCallback } from 'react'
import type { SpaceAnswer } from '../../../src/api/measures.ts'
import { useFormats } from '../formats/formats.ts'
import { useTexts } from '../language/language.ts'
import { useThemeName } from '../shell/theme.ts'

// Canvas, not SVG: the SVG renderer writes style attributes, which the content security policy forbids.
load([LineChart, GridComponent, TooltipComponent, CanvasRenderer])

const dayMs = 86_400_000
/** A forecast is drawn no further than this. */
const forecastDaysMax = 90

/** What a vault stored day by day, what it can hold, and where the growth of the last two weeks leads. */
export function GrowthChart({ space }: { space: SpaceAnswer }): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  const theme = useThemeName()
  const draw = useCallback(
    (element: HTMLDivElement | null) => {
      if (element === null) return undefined
      const style = getComputedStyle(element)
      const colour = (name: string): string => style.getPropertyValue(name)
      const chart = init(element)
      const stored = space.days.map(({ at, storedBytes }) => [Date.parse(at), storedBytes])
      chart.setOption({
        // Whoever wants less motion gets none, and a chart of facts needs none.
        animation: false,
        grid: { left: 76, right: 20, top: 14, bottom: 26 },
        textStyle: { fontFamily: style.fontFamily, color: colour('--ink-quiet') },
        xAxis: {
          type: 'time',
          axisLabel: {
            formatter: (at: number) => formats.day(at).slice(5),
            hideOverlap: true,
            color: colour('--ink-quiet'),
          },
          axisLine: { lineStyle: { color: colour('--line') } },
        },
        yAxis: {
          type: 'value',
          ...(isFullSoon(space) ? { max: space.storedBytes + space.freeBytes } : {}),
          axisLabel: { formatter: (bytes: number) => formats.bytes(bytes), color: colour('--ink-quiet') },
          splitLine: { lineStyle: { color: colour('--line') } },
        },
        tooltip: {
          trigger: 'axis',
          // Its HTML would need style attributes.
          renderMode: 'richText',
          backgroundColor: colour('--raised'),
          borderColor: colour('--line'),
          textStyle: { color: colour('--ink') },
          formatter: (points: unknown) => {
            const [point] = points as readonly {
              readonly data: readonly [number, number]
              readonly seriesName: string
            }[]
            return point ? `${formats.day(point.data[0])}  ${point.seriesName}  ${formats.bytes(point.data[1])}` : ''
          },
        },
        series: [
          {
            name: t.vaults.stored,
            type: 'line',
            data: stored,
            showSymbol: stored.length < 3,
            lineStyle: { color: colour('--accent'), width: 2 },
            itemStyle: { color: colour('--accent') },
            areaStyle: { color: colour('--accent'), opacity: 0.14 },
          },
          {
            name: t.vaults.forecast,
            type: 'line',
            data: forecastOf(space),
            showSymbol: false,
            lineStyle: { color: colour('--late'), width: 2, type: 'dashed' },
            itemStyle: { color: colour('--late') },
          },
        ],
      })
      const observer = new ResizeObserver(() => chart.resize())
      observer.observe(element)
      return () => {
        observer.disconnect()
        chart.dispose()
      }
    },
    // The theme changes what the names of the colours stand for.
    // oxlint-disable-next-line react/exhaustive-deps
    [space, t, formats, theme],
  )
  return <div className="growth-chart" ref={draw} role="img" aria-label={t.vaults.chartLabel} />
}

/** Where it fills within the time that is drawn, the top of the chart is what it can hold. */
const isFullSoon = ({ growthBytesPerDay, freeBytes }: SpaceAnswer): boolean =>
  growthBytesPerDay !== null && growthBytesPerDay * forecastDaysMax > freeBytes

function forecastOf({ days, growthBytesPerDay, freeBytes }: SpaceAnswer): [number, number][] {
  const last = days.at(-1)
  if (last === undefined || growthBytesPerDay === null || growthBytesPerDay <= 0) return []
  const left = Math.min(forecastDaysMax, freeBytes / growthBytesPerDay)
  const at = Date.parse(last.at)
  return [
    [at, last.storedBytes],
    [at + left * dayMs, last.storedBytes + left * growthBytesPerDay],
  ]
}
