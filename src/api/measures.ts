import { z } from 'zod'
import { identifier, isoMoment, sourceState } from './schemas.ts'

/** What was measured at the vault: the past of lag and of throughput, for reports and for strips of the last day. */

/** Upper bounds of the classes that lags are counted in; the last class is what is above. Vaults keep counts: not to be changed. */
export const lagClassesMs = [
  100, 250, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 300_000, 1_800_000, 7_200_000, 86_400_000,
] as const

export const measureSteps = ['minute', 'hour', 'day'] as const
export type MeasureStep = (typeof measureSteps)[number]

export const measuresRequest = z.object({
  from: isoMoment,
  to: isoMoment,
  step: z.enum(measureSteps),
})

/** One step of one source. The lag is looked at once a second; a second without a known lag counts in `unknownSeconds`. */
export const measure = z.object({
  at: isoMoment.describe('beginning of the step, UTC'),
  seconds: z.int().describe('seconds that were looked at: the vault may not have run all the time'),
  unknownSeconds: z.int().describe('of them, without a known lag: before the first baseline, paused, vanished'),
  lateSeconds: z.int().describe('of them, above the lag that the policy allows'),
  lagMsMax: z.number(),
  lagClasses: z
    .array(z.int())
    .length(lagClassesMs.length + 1)
    .describe('seconds in each class of lag'),
  worst: sourceState.describe('worst state seen'),
  changes: z.int(),
  bytes: z.int(),
})
export type Measure = z.infer<typeof measure>

export const measuresMax = 10_000
export const measuresAnswer = z.object({
  source: identifier,
  measures: z.array(measure).max(measuresMax).describe('ascending; spans in which nothing was looked at are left out'),
})

/**
 * The lag that so large a part of the known seconds did not exceed (0.5, 0.95, 0.99), as the upper bound of its class and never
 * more than the largest lag; null where none is known.
 */
export function lagPercentileMs(
  { lagClasses, lagMsMax }: Pick<Measure, 'lagClasses' | 'lagMsMax'>,
  part: number,
): number | null {
  const known = lagClasses.reduce((sum, seconds) => sum + seconds, 0)
  if (known === 0) return null
  let seconds = 0
  const found = lagClasses.findIndex((count) => (seconds += count) >= part * known)
  return Math.min(lagClassesMs[found] ?? lagMsMax, lagMsMax)
}

/** Of all sources at once, for strips of the last day. */
export const stripSteps = ['five-minutes', 'hour'] as const
export const stripsRequest = z.object({
  from: isoMoment,
  to: isoMoment,
  step: z.enum(stripSteps).default('five-minutes'),
})
export const stripHoursMax = 7 * 24
export const strip = z
  .string()
  .regex(/^[0-9a-f]*$/)
  .describe(
    'a digit for each step, the worst in it: 0 nothing was measured, 1 no lag was known, from 2 on the class of lag (lagClassesMs)',
  )
export const stripsAnswer = z.object({
  from: isoMoment.describe('where the first step begins'),
  step: z.enum(stripSteps),
  sources: z.array(z.object({ id: identifier, strip })).max(4096),
})
export type StripsAnswer = z.infer<typeof stripsAnswer>

export const spaceDay = z.object({
  at: isoMoment,
  storedBytes: z.int(),
  indexBytes: z.int(),
  freeBytes: z.int(),
  receivedBytes: z.int().describe('content that sources held or changed, before deduplication and compression'),
})

export const spaceAnswer = z.object({
  storedBytes: z.int().describe('what journals and packs take'),
  indexBytes: z.int().describe('what is derived from them takes'),
  logicalBytes: z
    .int()
    .describe(
      'what all that is kept would take as it came; the difference to storedBytes is deduplication and compression',
    ),
  freeBytes: z.int(),
  totalBytes: z.int(),
  days: z.array(spaceDay).max(400),
  growthBytesPerDay: z
    .number()
    .nullable()
    .describe('of journals, packs and indexes over the last 14 days; null before half a day was seen'),
  full: isoMoment.nullable().describe('when it will be full at that growth; null where it does not grow'),
  sources: z
    .array(
      z.object({
        id: identifier,
        name: z.string(),
        treeBytes: z.int().describe('of the newest tree'),
        historyBytes: z.int().describe('what came in all, within the window'),
        journalBytes: z.int().describe('of its segments'),
      }),
    )
    .max(4096),
})
export type SpaceAnswer = z.infer<typeof spaceAnswer>

/** What a shorter window would delete; nothing is done. */
export const retentionAnswer = z.object({
  earliestNow: isoMoment.nullable(),
  earliestThen: isoMoment.nullable(),
  changes: z.int().describe('changes that would be forgotten'),
  journalBytes: z.int().describe('of segments that would go; chunks are freed later, once nothing needs them'),
  marks: z
    .array(z.object({ label: z.string(), moment: isoMoment }))
    .max(100)
    .describe('marks that would go'),
})
export type RetentionAnswer = z.infer<typeof retentionAnswer>
