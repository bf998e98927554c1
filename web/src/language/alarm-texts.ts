import type { Alarm } from '../../../src/api/console.ts'

/** The sentence of an alarm and the next step, in the language chosen. */
export const useAlarmTexts = ({ message, hint }: Alarm): { sentence: string; hint: string } => ({
  sentence: message,
  hint,
})
