import { z } from 'zod'
import { identifier, isoMoment, sourceState } from './schemas.ts'

/** What was measured at the vault: the past of lag and of throughput, for reports and for strips of the last day. */

/** Upper bounds of the classes that lags are counted in; the last class is what is above. */
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

export const measuresAnswer = z.object({ source: identifier, measures: z.array(measure).max(10_000) })

export const spaceDay = z.object({
  at: isoMoment,
  storedBytes: z.int(),
  freeBytes: z.int(),
  receivedBytes: z.int().describe('content that sources held or changed, before deduplication and compression'),
})

export const spaceAnswer = z.object({
  storedBytes: z.int(),
  freeBytes: z.int(),
  totalBytes: z.int(),
  days: z.array(spaceDay).max(400),
  growthBytesPerDay: z.number().nullable().describe('over the last 14 days; null before there are two'),
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
