/**
 * Headers of bytes that a browser shall save and never run or show as what they may seem: whoever wrote a protected file is not to have a
 * say on the page of the console. The name as RFC 6266 has it, once for old readers and once in UTF-8.
 */
export const attachment = (name: string): Record<string, string> => ({
  'content-disposition': `attachment; filename="${plain(name)}"; filename*=UTF-8''${encoded(name)}`,
  'x-content-type-options': 'nosniff',
})

const plain = (name: string): string => name.replace(/[^\x20-\x7e]|["\\%;/]/gu, '_')

/** The characters that RFC 5987 lets stand are fewer than those that encodeURIComponent does. */
const encoded = (name: string): string =>
  encodeURIComponent(name.toWellFormed()).replace(
    /['()*]/g,
    (one) => `%${one.charCodeAt(0).toString(16).toUpperCase()}`,
  )
