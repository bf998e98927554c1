import type { Alarm, Severity, Thresholds } from '../../api/console.ts'
import type { Moment } from '../../model/moment.ts'

export type AlarmValues = Alarm['values']

/**
 * - `so`: it is as the rule says. `instance` names what exactly: of another one the alarm is another.
 * - `not`: it is over, or was not so.
 * - `either`: not known, or too near the limit to tell; what is raised stays, what is not is not.
 */
export type Verdict =
  | {
      readonly is: 'so'
      readonly values: AlarmValues
      readonly severity?: Severity
      readonly instance?: string
    }
  | { readonly is: 'not' }
  | { readonly is: 'either' }

export const not: Verdict = { is: 'not' }
export const either: Verdict = { is: 'either' }

export interface Rule<Subject> {
  readonly severity: Severity
  /** Raised when it has been so without a break for this long. */
  readonly holdMs: number | ((thresholds: Thresholds) => number)
  /** Over when it has not been so, without a break, for this long. */
  readonly overMs: number
  readonly judge: (subject: Subject, thresholds: Thresholds, now: Moment) => Verdict
}
