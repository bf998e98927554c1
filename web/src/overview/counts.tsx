import type { ReactNode } from 'react'
import { useFormats } from '../formats/formats.ts'
import { useTexts } from '../language/language.ts'
import type { Counts, Group } from '../live/systems.ts'
import type { Tone } from '../shell/source-states.ts'
import { ToneShape } from '../shell/state-mark.tsx'

export const groupTones: Readonly<Record<Group, Tone>> = {
  protected: 'good',
  late: 'late',
  stalled: 'bad',
  underway: 'working',
  unproven: 'idle',
}

/** How many systems are how; each number picks its systems out of the list below. */
export function CountTiles({
  counts,
  picked,
  onPick,
}: {
  counts: Counts
  picked: Group | null
  onPick: (group: Group | null) => void
}): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  return (
    <ul className="counts">
      {(Object.entries(groupTones) as [Group, Tone][]).map(([group, tone]) => {
        const count = counts[group]
        const sentence = count === 0 ? t.overview.groups.noneSentences[group] : t.overview.groups.sentences[group]
        return (
          <li key={group}>
            <button
              type="button"
              className={count > 0 ? `count tone-${tone}` : 'count tone-idle'}
              aria-pressed={picked === group}
              onClick={() => onPick(picked === group ? null : group)}
            >
              <span className="count-head">
                <ToneShape tone={count > 0 ? tone : 'idle'} />
                {t.overview.groups.words[group]}
              </span>
              <span className="count-number">
                {formats.count(count)}
                <span className="count-of">{t.overview.of(formats.count(counts.all))}</span>
              </span>
              <span className="count-sentence">{sentence}</span>
            </button>
          </li>
        )
      })}
    </ul>
  )
}
