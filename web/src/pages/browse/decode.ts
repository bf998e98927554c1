export const encodings = ['auto', 'utf-8', 'gb18030', 'utf-16le'] as const
export type Encoding = (typeof encodings)[number]

/** What the bytes say as text; undefined where they are none. A character that the end cuts through is left out. */
export function decodeText(bytes: Uint8Array, encoding: Encoding): string | undefined {
  if (encoding !== 'auto') return new TextDecoder(encoding).decode(bytes, { stream: true })
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return new TextDecoder('utf-16le').decode(bytes, { stream: true })
  if (bytes.includes(0)) return undefined
  for (const tried of ['utf-8', 'gb18030'] as const) {
    try {
      return new TextDecoder(tried, { fatal: true }).decode(bytes, { stream: true })
    } catch {
      // Not in this one.
    }
  }
  return undefined
}

const imageTypes: Readonly<Record<string, string>> = {
  png: 'image/png',
  jpg: 'image/jpeg',
  jpeg: 'image/jpeg',
  gif: 'image/gif',
  webp: 'image/webp',
  bmp: 'image/bmp',
  avif: 'image/avif',
}

/** What a browser shows as a picture, by its name; never SVG, which is a document. */
export const imageTypeOf = (name: string): string | undefined => imageTypes[name.split('.').at(-1)?.toLowerCase() ?? '']
