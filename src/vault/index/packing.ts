import { ByteReader, ByteWriter } from '../../base/bytes.ts'
import { readAttributes, writeAttributes } from '../../format/change.ts'
import type { Attributes, Content, Xattr } from '../../model/change.ts'
import { type BinaryString, fromBuffer, pathBytesMax, toBuffer } from '../../model/path.ts'
import type { Sealing } from './sealing.ts'

/** How attributes and what is particular to a type stand in a version row. */

export const nodeTypes = ['directory', 'file', 'symlink', 'fifo', 'socket', 'character-device', 'block-device'] as const
export type NodeType = (typeof nodeTypes)[number]
export const directoryType = nodeTypes.indexOf('directory')
export const fileType = nodeTypes.indexOf('file')

/** What a content is besides the bytes of a file. */
export type Particulars = Exclude<Content, { type: 'file' }> | { readonly type: 'file' }

export interface PackedAttributes {
  readonly attributes: Buffer
  readonly detail: Buffer | null
}

/** `attributes` in clear without the extended ones; these, with target and device numbers, sealed in `detail`. */
export function packAttributes(attributes: Attributes, particulars: Particulars, sealing: Sealing): PackedAttributes {
  const writer = new ByteWriter(48)
  writeAttributes(writer, attributes.xattrs.length === 0 ? attributes : { ...attributes, xattrs: [] })
  const detail = packDetail(attributes.xattrs, particulars)
  return { attributes: writer.finish(), detail: detail === undefined ? null : sealing.seal(detail) }
}

function packDetail(xattrs: readonly Xattr[], particulars: Particulars): Buffer | undefined {
  const writer = new ByteWriter()
  writer.varint(xattrs.length)
  for (const { name, value } of xattrs) writer.binary(name).bytes(value)
  switch (particulars.type) {
    case 'symlink':
      return writer.bytes(toBuffer(particulars.target)).finish()
    case 'character-device':
    case 'block-device':
      return writer.varint(particulars.major).varint(particulars.minor).finish()
    default:
      return xattrs.length === 0 ? undefined : writer.finish()
  }
}

export interface UnpackedAttributes {
  readonly attributes: Attributes
  readonly particulars: Particulars
}

export function unpackAttributes(
  type: NodeType,
  packed: { attributes: Uint8Array; detail: Uint8Array | null },
  sealing: Sealing,
): UnpackedAttributes {
  const attributes = readAttributes(new ByteReader(packed.attributes))
  if (packed.detail === null) return { attributes, particulars: bare(type) }
  const reader = new ByteReader(sealing.open(packed.detail))
  const xattrs = Array.from({ length: reader.varint() }, () => ({
    name: reader.binary(255) as BinaryString,
    value: new Uint8Array(reader.bytes(reader.remaining)),
  }))
  return { attributes: { ...attributes, xattrs }, particulars: readParticulars(type, reader) }
}

function readParticulars(type: NodeType, reader: ByteReader): Particulars {
  switch (type) {
    case 'symlink':
      return { type, target: fromBuffer(reader.bytes(pathBytesMax)) }
    case 'character-device':
    case 'block-device':
      return { type, major: reader.varint(), minor: reader.varint() }
    default:
      return bare(type)
  }
}

/** Of a type that has nothing particular, or of a link or device whose row says nothing. */
function bare(type: NodeType): Particulars {
  switch (type) {
    case 'symlink':
      return { type, target: '' as BinaryString }
    case 'character-device':
    case 'block-device':
      return { type, major: 0, minor: 0 }
    default:
      return { type }
  }
}
