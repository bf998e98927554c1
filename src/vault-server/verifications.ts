import { messageOf } from '../base/errors.ts'
import type { Moment } from '../model/moment.ts'
import type { RecoveryPoint } from '../model/recovery-point.ts'
import type { Id } from '../model/source.ts'
import type { VerifyEvent } from '../vault/views/service.ts'
import { tellPath } from './answers.ts'
import type { Context } from './context.ts'

export interface Verified {
  readonly source: Id
  readonly point: RecoveryPoint
  readonly seconds: number
  readonly by: string
}

/**
 * Records that every byte of a point was read back, and what came of it. What was found has to be told even where it cannot be
 * recorded: then the reason is returned.
 */
export function recordReadBack(
  { measures, clock }: Pick<Context, 'measures' | 'clock'>,
  { source, point, seconds, by }: Verified,
  { files, bytes, failures }: VerifyEvent,
): string | undefined {
  const [first] = failures
  const wrong = first && `${failures.length} wrong: ${tellPath(first.path).path}: ${first.message}`
  try {
    measures.ask((file) =>
      file.putVerification(source, {
        at: clock.now() as Moment,
        sequence: point.sequence,
        moment: point.moment,
        good: failures.length === 0,
        files,
        bytes,
        seconds,
        text: `every byte of ${files} files read back, ${wrong ?? 'nothing wrong'}`,
        by,
      }),
    )
    return undefined
  } catch (error) {
    return messageOf(error)
  }
}
