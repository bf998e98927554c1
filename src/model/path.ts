import { Malformed } from '../base/bytes.ts'

/**
 * A string in which each character is one byte (0 to 255). Names on Unix are bytes and need not be UTF-8; a binary
 * string keeps them exactly, compares and hashes quickly, and becomes a Buffer only at a system call.
 */
export type BinaryString = string & { readonly is: 'BinaryString' }

/**
 * Where something stands in the tree of a source: names joined by '/', without a leading '/'; '' is the root.
 * For kind `files` it is the absolute path on the protected server without its first '/'.
 */
export type TreePath = BinaryString & { readonly in: 'tree' }

export const rootPath = '' as TreePath
export const nameBytesMax = 255
export const pathBytesMax = 32 * 1024

/** Top-level name under which a capture builds what is not yet whole (see docs/formats/vault.md, section 6); views hide it. */
export const stagingName = '.tidemark-staging'

export const toBuffer = (text: BinaryString): Buffer => Buffer.from(text, 'latin1')
export const fromBuffer = (bytes: Uint8Array): BinaryString =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1') as BinaryString
export const fromUtf8 = (text: string): BinaryString => Buffer.from(text, 'utf8').toString('latin1') as BinaryString

/** Checks that `text` is a well-formed path of a tree; names are not empty, '.', '..', and hold no NUL. */
export function treePath(text: string): TreePath {
  if (text === '') return rootPath
  if (text.length > pathBytesMax) throw new Malformed(`path of ${text.length} bytes`)
  for (const name of text.split('/')) {
    if (name === '' || name === '.' || name === '..' || name.length > nameBytesMax || name.includes('\0')) {
      throw new Malformed(`path ${JSON.stringify(text)}`)
    }
  }
  return text as TreePath
}

/** An absolute path of the protected server, in the form a user types, as a path of the tree. */
export const fromAbsolute = (absolute: string): TreePath =>
  treePath(
    fromUtf8(absolute)
      .split('/')
      .filter((name) => name !== '')
      .join('/'),
  )

export const joinPath = (parent: TreePath, name: string): TreePath =>
  (parent === '' ? name : `${parent}/${name}`) as TreePath

export const parentOf = (path: TreePath): TreePath => path.slice(0, Math.max(path.lastIndexOf('/'), 0)) as TreePath
export const nameOf = (path: TreePath): BinaryString => path.slice(path.lastIndexOf('/') + 1) as BinaryString

export const isWithin = (path: TreePath, ancestor: TreePath): boolean =>
  ancestor === '' || path === ancestor || path.startsWith(`${ancestor}/`)

/** For people: UTF-8 where it is, `\xNN` for bytes that are not, `\n` and other control characters escaped. */
export function displayName(text: string): string {
  const bytes = Buffer.from(text, 'latin1')
  const decoded = bytes.toString('utf8')
  const whole = Buffer.from(decoded, 'utf8').equals(bytes)
    ? decoded
    : Array.from(bytes, (byte) => (byte < 0x80 ? String.fromCharCode(byte) : `\\x${hex(byte)}`)).join('')
  // oxlint-disable-next-line no-control-regex
  return whole.replace(/[\u0000-\u001f\u007f]/g, (character) => `\\x${hex(character.charCodeAt(0))}`)
}

const hex = (byte: number): string => byte.toString(16).padStart(2, '0')
