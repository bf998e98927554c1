import { BarChart } from 'echarts/charts'
import { GridComponent, LegendComponent, TooltipComponent } from 'echarts/components'
import * as echarts from 'echarts/core'
import { CanvasRenderer } from 'echarts/renderers'
import { type ReactNode, useEffect, useRef } from 'react'
import type { Report } from '../../../src/api/console.ts'
import { useFormats } from '../formats/formats.ts'
import { useTexts } from '../language/language.ts'
import { classNames, usedClasses } from '../reports/lag-classes.ts'

echarts.use([BarChart, GridComponent, LegendComponent, TooltipComponent, CanvasRenderer])

/**
 * What part of its measured time each source had a lag of each class. The tables say the same for who cannot see it. Its
 * colours are those of the palette when it is made: whoever shows it makes it anew when the palette is another.
 */
export function LagChart({ sources }: { sources: Report['sources'] }): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  const place = useRef<HTMLDivElement>(null)
  useEffect(() => {
    if (place.current === null) return undefined
    const chart = echarts.init(place.current)
    const style = getComputedStyle(document.documentElement)
    const colour = (name: string): string => style.getPropertyValue(name).trim()
    const used = usedClasses(sources.map(({ lagClasses }) => lagClasses))
    const names = classNames(t, formats.duration)
    const ink = colour('--ink-quiet')
    chart.setOption({
      animation: false,
      color: ['--lag-3', '--working', '--lag-late', '--away', '--lag-1', '--accent'].map(colour),
      textStyle: { fontFamily: colour('--font'), color: ink },
      grid: { left: 12, right: 16, top: 40, bottom: 8, containLabel: true },
      legend: { top: 6, textStyle: { color: ink }, type: 'scroll' },
      // Drawn, not written: the content security policy forbids the styles of tooltips made of HTML.
      tooltip: {
        renderMode: 'richText',
        trigger: 'axis',
        axisPointer: { type: 'shadow' },
        backgroundColor: colour('--panel'),
        borderColor: colour('--line'),
        textStyle: { color: colour('--ink') },
        valueFormatter: (value: unknown) => formats.share(Number(value)),
      },
      xAxis: {
        type: 'category',
        data: used.map((at) => names[at]),
        axisLabel: { color: ink },
        axisLine: { lineStyle: { color: colour('--line') } },
      },
      yAxis: {
        type: 'value',
        name: t.reports.share,
        max: 1,
        axisLabel: { color: ink, formatter: (value: number) => formats.share(value) },
        splitLine: { lineStyle: { color: colour('--line') } },
      },
      series: sources.map(({ name, vault, lagClasses }) => {
        const all = lagClasses.reduce((sum, seconds) => sum + seconds, 0)
        return {
          type: 'bar',
          name: `${name} (${vault})`,
          data: used.map((at) => (all === 0 ? 0 : (lagClasses[at] ?? 0) / all)),
        }
      }),
    })
    const resized = new ResizeObserver(() => chart.resize())
    resized.observe(place.current)
    return () => {
      resized.disconnect()
      chart.dispose()
    }
  }, [sources, t, formats])
  return <div ref={place} className="lag-chart" role="img" aria-label={t.reports.chartLabel} />
}
