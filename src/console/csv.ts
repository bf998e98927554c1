/** The mark by which Excel takes a file for UTF-8. */
export const csvBegin = '\u{feff}'

export const csvLine = (values: readonly (string | number | null)[]): string => `${values.map(cell).join(',')}\r\n`

/**
 * What begins like a formula is told as text: others choose what stands here. A number is one. Quoted as well is what some
 * programs take for the end of a cell, or a formula could begin after it.
 */
function cell(value: string | number | null): string {
  const text = String(value ?? '')
  const safe = typeof value === 'string' && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text
  return /[",;\t\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}
