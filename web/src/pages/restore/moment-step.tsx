import { Button } from 'antd'
import type { ReactNode } from 'react'
import { useTexts } from '../../language/language.ts'
import { toInstant, toIso } from '../../timeline/instant.ts'
import { writeMoment } from '../../timeline/surface.ts'
import { Timeline } from '../../timeline/timeline.tsx'
import type { StepProps } from './plan.ts'

/** A POINT in words. */
export function usePointText(): (point: string) => string {
  const t = useTexts()
  return (point) => {
    if (point === 'latest') return t.restore.newest
    return /^\d{4}-/.test(point) ? writeMoment(toInstant(point)) : t.restore.exactly(point)
  }
}

export function MomentStep({ sources, plan, change }: StepProps): ReactNode {
  const t = useTexts()
  const tell = usePointText()
  return (
    <>
      <p className="restore-chosen">
        <strong>{plan.at === 'latest' ? t.restore.newest : t.restore.chosen(tell(plan.at))}</strong>
        <span className="quiet">{t.restore.momentHint}</span>
        <Button size="small" disabled={plan.at === 'latest'} onClick={() => change({ at: 'latest' })}>
          {t.restore.takeNewest}
        </Button>
      </p>
      <div className="restore-timeline">
        <Timeline
          isCompact
          sources={sources}
          chosen={/^\d{4}-/.test(plan.at) ? toInstant(plan.at) : undefined}
          choose={({ at, exact }) =>
            change({ at: exact !== undefined && sources.length === 1 ? exact.point : toIso(at) })
          }
        />
      </div>
    </>
  )
}
