import { type Lsn, parseLsn, parseTimeline, type Timeline } from '../../model/lsn.ts'

/** A line of a `.history` file: the timeline that was left, and where. */
export interface TimelineFork {
  readonly timeline: Timeline
  readonly leftAt: Lsn
  readonly reason: string
}

/** From the oldest on. Lines are `timeline <tab> LSN <tab> reason`; empty ones and those beginning with # say nothing. */
export const parseTimelineHistory = (content: Uint8Array): TimelineFork[] =>
  Buffer.from(content)
    .toString('utf8')
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const [timeline = '', leftAt = '', ...reason] = line.split(/\s+/)
      return { timeline: parseTimeline(timeline), leftAt: parseLsn(leftAt), reason: reason.join(' ') }
    })
