import { createSecretKey } from 'node:crypto'
import { type ApiClient, apiPath } from '../api/client.ts'
import { chunkKeyAnswer, entry, extentsAnswer, resolvedPoint } from '../api/schemas.ts'
import { Malformed } from '../base/bytes.ts'
import { isCode, TidemarkError } from '../base/errors.ts'
import { decodeStretches, type ToldStretch } from '../format/content.ts'
import { chunkIdOf } from '../format/keys.ts'
import { diskPath } from '../format/volume-tree.ts'
import type { Range } from '../model/change.ts'
import { toBuffer } from '../model/path.ts'
import { type Sequence, sequence } from '../model/sequence.ts'
import type { JournalStretch, RestStretch, VolumeOrigin } from '../recover/volume/origin.ts'
import { wholeStretches } from '../recover/volume/whole.ts'
import { isoToMoment } from './points.ts'

/** A point of a volume's journal over the vault's HTTP API. The point is resolved once and stands still. */
export async function apiVolume(client: ApiClient, source: string, at: string): Promise<VolumeOrigin> {
  const base = `/v1/sources/${encodeURIComponent(source)}`
  const { chunkKey } = await client.json('GET', '/v1/chunk-key', chunkKeyAnswer)
  const key = createSecretKey(Buffer.from(chunkKey, 'base64'))
  const point = await client.json('GET', apiPath(`${base}/point`, { at }), resolvedPoint)
  const still = `seq:${point.sequence}`
  const path = toBuffer(diskPath).toString('base64')
  const { bytes } = await client
    .json('GET', apiPath(`${base}/stat`, { at: still, pathBytes: path }), entry)
    .catch(notYetCopied)
  return {
    point: { at: sequence(point.sequence), moment: isoToMoment(point.moment) },
    bytes,
    ...(point.suspect === undefined ? {} : { suspect: point.suspect }),
    read: (ranges, signal) => wholeStretches(ranges, stretches({ ranges }, signal)),
    readRest: (ranges, signal) => wholeStretches(ranges, stretches({ ranges, withoutJournal: true }, signal)),
    readJournal,
    extents: ({ at: offset, bytes: length }) =>
      client.json('GET', apiPath(`${base}/extents`, { at: still, pathBytes: path, offset, length }), extentsAnswer),
  }

  async function* stretches(
    wanted: { readonly ranges: readonly Range[]; readonly withoutJournal?: boolean },
    signal: AbortSignal,
  ): AsyncGenerator<RestStretch> {
    const asked = apiPath(`${base}/stretches`, { at: still })
    for await (const told of decoded(await client.stream('POST', asked, { path, ...wanted }, signal))) {
      if (told.kind === 'data') yield told
      else if (told.kind === 'zeros') yield { at: told.at, bytes: told.bytes }
      else if (told.kind === 'journal' && wanted.withoutJournal) yield { ...told, isInJournal: true }
      else throw foreign(`it told of ${told.kind}`)
    }
  }

  async function* readJournal(after: Sequence, signal: AbortSignal): AsyncGenerator<JournalStretch> {
    const asked = apiPath(`${base}/journal-stretches`, { at: still, pathBytes: path, after })
    for await (const told of decoded(await client.stream('GET', asked, undefined, signal))) {
      if (told.kind === 'zeros' || told.kind === 'journal') throw foreign(`it told of ${told.kind}`)
      if (told.kind !== 'reached' && (told.bytes === 0 || told.at + told.bytes > bytes))
        throw foreign(`it told of ${told.bytes} bytes at ${told.at}`)
      yield told
    }
  }

  async function* decoded(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<ToldStretch> {
    try {
      yield* decodeStretches(pieces, (id, data) => chunkIdOf(key, data) === id)
    } catch (error) {
      throw error instanceof Malformed ? foreign(error.message) : error
    }
  }
}

const foreign = (how: string): TidemarkError =>
  new TidemarkError('protocol-violation', {
    message: `the vault sent content that is not of its form: ${how}`,
    hint: 'try again; if this happens again, the versions of the program and of the vault do not fit',
  })

/** Before its first copy a volume has no bytes at all. */
function notYetCopied(error: unknown): never {
  if (!isCode(error, 'not-found')) throw error
  throw new TidemarkError('point-unreachable', {
    message: 'nothing of the volume had been copied at this point',
    hint: 'choose a later one; "tidemark points" lists them',
    cause: error,
  })
}

/** A line for whoever uses the volume as it stands there. */
export const describeSuspect = (source: string, { suspect }: Pick<VolumeOrigin, 'suspect'>): string =>
  suspect === undefined
    ? ''
    : `  suspect there (${suspect}): parts may be missing, older or newer than the rest; "tidemark points ${source}" lists others\n`
