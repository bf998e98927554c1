import type { KeyObject } from 'node:crypto'
import { isCode } from '../base/errors.ts'
import { headerBytes, type Seal, type SealedHeader } from '../format/sealed-file.ts'
import type { Sequence } from '../model/sequence.ts'
import { damaged } from './damaged.ts'
import { type Frame, openSealed, type SealedReader } from './sealed-reader.ts'
import { type ClosingFrame, SealedWriter } from './sealed-writer.ts'
import type { Store, StoreName } from './store.ts'

export interface RecoveryParts {
  /** Bytes of the file that are known to have been durable; where less is whole, the file is damaged. */
  readonly floor?: number
  /** Told each frame in order, closing ones left out, of a file that has to be sealed. */
  readonly each?: (frame: Frame) => void
  /** Last sequence of the file, asked once all frames have been told. */
  readonly last: () => Sequence
  readonly closing?: () => readonly ClosingFrame[]
}

export type Recovered =
  | {
      readonly kind: 'sealed'
      readonly header: SealedHeader
      readonly seal: Seal
      /** Sealed just now. */ readonly mended: boolean
    }
  /** It held nothing that could have been acknowledged. */
  | { readonly kind: 'removed' }

/**
 * Brings a file that may have been growing when its writer ended to its end: cuts a torn tail and seals it. Frames are
 * never added to such a file, since that could use a nonce twice. Damage throws and leaves the file as it is.
 */
export async function recoverSealed(
  store: Store,
  name: StoreName,
  owner: KeyObject,
  parts: RecoveryParts,
): Promise<Recovered> {
  const floor = parts.floor ?? 0
  const file = await openOrRemove(store, name, owner, floor)
  if (!file) return { kind: 'removed' }
  const { header } = file
  const present = await file.seal()
  if (present) {
    const size = await store.size(name)
    if (size < floor) throw damaged(name, size, `${floor} bytes of it were durable`)
    // A killed process may have written the seal and not synced it; it must not be lost once more is built on it.
    await using growing = await store.extend(name)
    await growing.sync()
    return { kind: 'sealed', header, seal: present, mended: false }
  }

  const scan = file.scan(undefined, floor)
  let inData = true
  for (let frame = await scan.next(); frame; frame = await scan.next()) {
    inData &&= frame.type !== 'pack-index'
    if (inData) parts.each?.(frame)
  }
  const data = scan.dataEnd
  if (data.at === headerBytes) {
    await store.remove(name)
    return { kind: 'removed' }
  }
  if ((await store.size(name)) > data.at) await store.truncate(name, data.at)
  const growing = await store.extend(name)
  await using writer = new SealedWriter(growing, header, file.key, { ...data, bytes: data.at })
  // What was read may so far only be in the memory of the system.
  await growing.sync()
  await writer.seal(parts.last(), parts.closing?.())
  const seal = await file.seal()
  if (!seal) throw damaged(name, data.at, 'the seal just written cannot be read')
  return { kind: 'sealed', header, seal, mended: true }
}

/** The header is made durable before any frame, so a file no longer than it can have lost nothing. */
async function openOrRemove(
  store: Store,
  name: StoreName,
  owner: KeyObject,
  floor: number,
): Promise<SealedReader | undefined> {
  try {
    return await openSealed(store, name, owner)
  } catch (error) {
    if (!isCode(error, 'damaged') || floor > headerBytes || (await store.size(name)) > headerBytes) throw error
    await store.remove(name)
    return undefined
  }
}
