import { Malformed } from '../base/bytes.ts'

/** A change's place in one journal: starts at 1, grows by 1, is never reused. 0 is "before the first". */
export type Sequence = number & { readonly is: 'Sequence' }

export const beforeFirst = 0 as Sequence

export function sequence(value: number): Sequence {
  if (!Number.isSafeInteger(value) || value < 0) throw new Malformed(`sequence ${value}`)
  return value as Sequence
}

export const advance = (from: Sequence, count: number): Sequence => sequence(from + count)

/** Sixteen hexadecimal digits, so that names list in order. */
export const formatSequence = (value: Sequence): string => value.toString(16).padStart(16, '0')

export function parseSequence(text: string): Sequence {
  if (!/^[0-9a-f]{16}$/.test(text)) throw new Malformed(`sequence ${text}`)
  return sequence(Number.parseInt(text, 16))
}
