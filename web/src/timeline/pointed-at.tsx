import type { ReactNode } from 'react'
import { useFormats } from '../formats/formats.ts'
import type { Texts } from '../language/en.ts'
import { useTexts } from '../language/language.ts'
import type { Hit } from './hit.ts'
import { type Pointed, writeMoment } from './surface.ts'

const widthPixels = 300

/** What is under the pointer, in words. */
export function PointedAt({ pointed }: { readonly pointed: Pointed }): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  const { x, y, track, hit, changes, columnUs } = pointed
  if (track === undefined) return null
  const lines = hit === undefined ? [] : linesOf(hit, t, formats.bytes)
  const isBefore = track.earliest !== undefined && pointed.at < track.earliest
  if (isBefore) lines.push(t.timeline.beforeWindow)
  else if (changes !== undefined && hit?.kind !== 'transaction')
    lines.push(
      changes === 0
        ? t.timeline.noChanges(formats.duration(columnUs / 1000))
        : t.timeline.changes(formats.count(Math.max(1, changes)), formats.duration(columnUs / 1000)),
    )
  if (lines.length === 0) return null
  const place = x > widthPixels + 40 ? { left: x - widthPixels - 14 } : { left: x + 14 }
  return (
    <div className="timeline-pointed" style={{ ...place, top: y + 10, width: widthPixels }} aria-hidden="true">
      <strong>{track.name}</strong>
      {lines.map((line) => (
        <div key={line}>{line}</div>
      ))}
    </div>
  )
}

/** A hit told line by line; the first says what it is. */
export function linesOf(hit: Hit, t: Texts, bytes: (count: number) => string): string[] {
  switch (hit.kind) {
    case 'transaction': {
      const { transaction } = hit
      const what = t.timeline.transactionKinds[transaction.kind]
      const size = transaction.bytes === undefined ? [] : [bytes(transaction.bytes)]
      return [[`${what} ${transaction.name}`, ...size].join(' · '), writeMoment(transaction.at)]
    }
    case 'verified': {
      const { isGood, made, text } = hit.verified
      return [isGood ? t.timeline.verifiedGood(writeMoment(made)) : t.timeline.verifiedBad(writeMoment(made)), text]
    }
    default: {
      const { kind, label, at, until } = hit.landmark
      const end = until === undefined ? undefined : Number.isFinite(until) ? writeMoment(until) : t.timeline.stillOn
      return [
        `${t.timeline.kinds[kind]}: ${reasonOf(label, t)}`,
        end === undefined ? writeMoment(at) : `${writeMoment(at)} – ${end}`,
        ...(kind === 'hole' ? [t.timeline.holeHint] : kind === 'suspect' ? [t.timeline.suspectHint] : []),
      ]
    }
  }
}

/** Reasons that the vault tells by a word are told in the language of the user; others as they are. */
export const reasonOf = (label: string, t: Texts): string =>
  (t.timeline.reasons as Readonly<Record<string, string>>)[label] ?? label
