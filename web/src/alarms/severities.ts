import type { Alarm } from '../../../src/api/console.ts'

/** The worst first. */
export const severities = ['critical', 'warning', 'information'] as const satisfies readonly Alarm['severity'][]
