import type { z } from 'zod'
import type { preflightRow, PreflightSentences } from '../../../../src/api/tasks.ts'
import { type Formats, useFormats } from '../../formats/formats.ts'
import { useTexts } from '../../language/language.ts'

export type PreflightRow = z.infer<typeof preflightRow>

/** The sentence of a row and the next step, in the language chosen. */
export function usePreflightTexts(): (row: PreflightRow) => { readonly sentence: string; readonly hint?: string } {
  const t = useTexts()
  const formats = useFormats()
  return ({ code = '', values = {}, message, hint }) => {
    // An older agent tells no code; a newer one may tell one that this page does not know.
    if (!(code in t.preflight)) return { sentence: message, ...(hint === undefined ? {} : { hint }) }
    const { is, next } = t.preflight[code as keyof PreflightSentences]
    const words = Object.fromEntries(
      Object.entries(values).map(([name, value]) => [name, inUnit(name, value, formats)] as const),
    )
    return {
      sentence: (is as (words: Record<string, string>) => string)(words),
      ...(next === undefined ? {} : { hint: next }),
    }
  }
}

/** By the end of its name, where the unit stands. */
function inUnit(name: string, value: string | number, formats: Formats): string {
  if (name === 'moment') return formats.moment(value)
  if (typeof value === 'string') return value
  if (name === 'bytesPerSecond') return formats.rate(value)
  if (/bytes$/i.test(name)) return formats.bytes(value)
  return name.endsWith('Ms') ? formats.duration(value) : formats.count(value)
}
