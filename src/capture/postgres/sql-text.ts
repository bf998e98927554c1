/** Names and texts within SQL. Backslashes mean nothing in either, as `standard_conforming_strings` is on unless meddled with. */
export const quotedIdentifier = (name: string): string =>
  /^[a-z_][a-z0-9_]*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`

export const quotedText = (text: string): string => {
  const quoted = text.replaceAll("'", "''")
  return text.includes('\\') ? `E'${quoted.replaceAll('\\', '\\\\')}'` : `'${quoted}'`
}
