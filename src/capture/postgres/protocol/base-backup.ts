import { assert } from '../../../base/assert.ts'
import { ByteReader, Malformed } from '../../../base/bytes.ts'
import { TidemarkError } from '../../../base/errors.ts'
import { type Lsn, parseLsn, parseTimeline, type Timeline } from '../../../model/lsn.ts'
import { Arrivals } from './arrivals.ts'
import type { AnswerSink, Connection } from './connection.ts'
import { type DatabaseError, hasSqlState } from './database-error.ts'
import { readRow, readStrings } from './messages.ts'

export interface BackupRequest {
  /** Comes to stand in backup_label. */
  readonly label: string
  /** `spread` waits until the next checkpoint has been written at its leisure, which may take minutes. */
  readonly checkpoint?: 'fast' | 'spread'
  /** Checksums in the manifest. There is a manifest from version 13 on; `none` leaves it out. */
  readonly manifest?: 'none' | 'without-checksums' | 'crc32c' | 'sha256'
  /** Has the server estimate the size first, which takes it a walk through all its files. */
  readonly estimate?: boolean
  readonly kibPerSecondMax?: number
  /** Of each of the two blocks that data waits in. */
  readonly blockBytes?: number
}

export interface Tablespace {
  /** Undefined for the data directory itself. */
  readonly oid: number | undefined
  /** The absolute path at the server; empty for the data directory. */
  readonly location: string
  /** Estimated, where that was asked for. */
  readonly bytes: number | undefined
}

/**
 * The course of a base backup: `start`, then for each tablespace `archive` and its `data`, then, if there is one, `manifest`
 * and its `data`, then `end`. `progress` may stand anywhere between.
 */
export type BackupEvent =
  | {
      readonly kind: 'start'
      readonly lsn: Lsn
      readonly timeline: Timeline
      readonly tablespaces: readonly Tablespace[]
    }
  /**
   * The data that follows is a tar archive. Servers before version 15 leave out the two blocks of zeros at its end
   * (`isTerminated` false), which strict readers want.
   */
  | {
      readonly kind: 'archive'
      readonly oid: number | undefined
      readonly location: string
      readonly isTerminated: boolean
    }
  /** The data that follows is the file backup_manifest. */
  | { readonly kind: 'manifest' }
  /** `bytes` hold until the next event is asked for. */
  | { readonly kind: 'data'; readonly bytes: Buffer }
  /** Bytes of archives that the server has sent. From version 15 on. */
  | { readonly kind: 'progress'; readonly bytes: number }
  /**
   * WAL from the start up to `lsn` makes the copy consistent; it is not waited for here. `damage`: the server's words
   * about pages whose checksum is wrong. Then the copy is as good as the server's own files.
   */
  | { readonly kind: 'end'; readonly lsn: Lsn; readonly timeline: Timeline; readonly damage: string | undefined }

const blockBytesUsual = 4 * 1024 * 1024
/** Names and numbers in the stream of version 15 and newer. */
const noteBytesMax = 16 * 1024
const firstWithManifest = 13
const firstWithOneStream = 15

/**
 * Copies the whole cluster. While it is iterated, the connection is its own; leaving early closes the connection, because
 * nothing else stops the server. A slow consumer makes the server wait, and that for any time.
 */
export async function* baseBackup(
  connection: Connection,
  request: BackupRequest,
): AsyncGenerator<BackupEvent, void, void> {
  const arrivals = new Arrivals<BackupEvent>(request.blockBytes ?? blockBytesUsual, {
    pause: () => connection.pause(),
    resume: () => connection.resume(),
  })
  const answer = new BackupAnswer(connection, arrivals)
  const answered = connection.exchange(command(connection, request), answer, `base backup of ${connection.where}`).then(
    () => arrivals.end(),
    (error: unknown) => arrivals.end({ error }),
  )
  let isEnded = false
  try {
    for (let arrival = await arrivals.take(); arrival; arrival = await arrivals.take()) {
      yield arrival.kind === 'event' ? arrival.event : { kind: 'data', bytes: arrival.bytes }
    }
    isEnded = true
    yield answer.end()
  } catch (error) {
    isEnded = true
    // Pages with wrong checksums are told as an error, after everything has been sent.
    if (!answer.isComplete || !hasSqlState(error, 'XX001')) throw error
    yield answer.end(error)
  } finally {
    if (!isEnded) {
      connection.fail(
        new TidemarkError('interrupted', { message: `the base backup of ${connection.where} was given up` }),
      )
      connection.resume()
    }
    await answered
  }
}

function command({ serverMajor }: Connection, request: BackupRequest): string {
  const { checkpoint = 'fast', estimate = false, kibPerSecondMax } = request
  const manifest = serverMajor < firstWithManifest ? 'none' : (request.manifest ?? 'crc32c')
  const checksums = { 'none': 'NONE', 'without-checksums': 'NONE', 'crc32c': 'CRC32C', 'sha256': 'SHA256' }[manifest]
  assert(kibPerSecondMax === undefined || Number.isInteger(kibPerSecondMax), 'a rate is a whole number')
  const label = `LABEL '${request.label.replaceAll("'", "''")}'`
  if (serverMajor >= firstWithOneStream) {
    const options = [
      label,
      `CHECKPOINT '${checkpoint}'`,
      'WAIT false',
      'TABLESPACE_MAP true',
      ...(estimate ? ['PROGRESS true'] : []),
      ...(manifest === 'none' ? [] : [`MANIFEST 'yes'`, `MANIFEST_CHECKSUMS '${checksums}'`]),
      ...(kibPerSecondMax === undefined ? [] : [`MAX_RATE ${kibPerSecondMax}`]),
    ]
    return `BASE_BACKUP (${options.join(', ')})`
  }
  const options = [
    label,
    ...(estimate ? ['PROGRESS'] : []),
    ...(checkpoint === 'fast' ? ['FAST'] : []),
    'NOWAIT',
    ...(kibPerSecondMax === undefined ? [] : [`MAX_RATE ${kibPerSecondMax}`]),
    'TABLESPACE_MAP',
    ...(manifest === 'none' ? [] : [`MANIFEST 'yes'`, `MANIFEST_CHECKSUMS '${checksums}'`]),
  ]
  return `BASE_BACKUP ${options.join(' ')}`
}

/**
 * The answer: a result set with the start, one with the tablespaces, the copies, one with the end. Before version 15 there
 * is a copy for each tablespace and one for the manifest. From 15 on there is one copy, whose messages begin with a letter:
 *   n  name and location of an archive, each ending in a zero byte     d  data of it, or of the manifest
 *   m  the manifest begins                                             p  u64, bytes of archives so far
 */
class BackupAnswer implements AnswerSink {
  readonly #arrivals: Arrivals<BackupEvent>
  readonly #where: string
  readonly #hasOneStream: boolean
  readonly #sets: (string | null)[][][] = []
  #tablespaces: Tablespace[] = []
  #copies = 0
  #kind: number | undefined
  #note: Buffer[] = []
  #noteBytes = 0
  #hasTarget = false
  #end: { readonly lsn: Lsn; readonly timeline: Timeline } | undefined

  constructor(connection: Connection, arrivals: Arrivals<BackupEvent>) {
    this.#where = connection.where
    this.#arrivals = arrivals
    this.#hasOneStream = connection.serverMajor >= firstWithOneStream
  }

  /** Whether everything has come, whatever the server says after it. */
  get isComplete(): boolean {
    return this.#end !== undefined
  }

  end(error?: DatabaseError): BackupEvent {
    if (this.#end) return { kind: 'end', ...this.#end, damage: error?.report.message }
    throw new TidemarkError('protocol-violation', { message: `${this.#where} ended a base backup without its end` })
  }

  columns(): void {
    if (this.#sets.length === 3) throw new Malformed('too many result sets for a base backup')
    this.#sets.push([])
  }

  row(body: Buffer): void {
    this.#sets.at(-1)?.push(readRow(body).map((value) => value && value.toString('utf8')))
  }

  complete(): void {
    if (this.#sets.length === 3) this.#end ??= position(this.#sets[2])
    if (this.#sets.length !== 2 || this.#copies > 0) return
    this.#tablespaces = (this.#sets[1] ?? []).map(([oid, location, kib]) => ({
      oid: oid ? tablespaceOid(oid) : undefined,
      location: location ?? '',
      bytes: kib ? Number(kib) * 1024 : undefined,
    }))
    this.#arrivals.event({ kind: 'start', ...position(this.#sets[0]), tablespaces: this.#tablespaces })
  }

  copyStart(): void {
    if (this.#sets.length !== 2) throw new Malformed('a base backup without its start')
    const copy = this.#copies++
    if (this.#hasOneStream) return
    const tablespace = this.#tablespaces[copy]
    if (tablespace)
      this.#begin({ kind: 'archive', oid: tablespace.oid, location: tablespace.location, isTerminated: false })
    else if (copy === this.#tablespaces.length) this.#begin({ kind: 'manifest' })
    else throw new Malformed('more archives than tablespaces')
  }

  copyDataStart(bytes: number): void {
    if (this.#hasOneStream && bytes === 0) throw new Malformed('an empty message in a base backup')
    this.#kind = undefined
    this.#note = []
    this.#noteBytes = 0
  }

  copyData(source: Buffer, start: number, end: number): void {
    if (!this.#hasOneStream) return this.#arrivals.bytes(source, start, end)
    let at = start
    if (this.#kind === undefined) this.#kind = source[at++]
    if (at === end) return
    if (this.#kind === 0x64) {
      if (!this.#hasTarget) throw new Malformed('data of a base backup before its archive')
      return this.#arrivals.bytes(source, at, end)
    }
    this.#noteBytes += end - at
    if (this.#noteBytes > noteBytesMax) throw new Malformed('a note of a base backup that is too long')
    this.#note.push(Buffer.from(source.subarray(at, end)))
  }

  copyDataEnd(): void {
    if (!this.#hasOneStream || this.#kind === 0x64) return
    const note = Buffer.concat(this.#note)
    switch (this.#kind) {
      case 0x6e: {
        const [name = '', location] = readStrings(note)
        if (location === undefined) throw new Malformed('an archive without a location')
        const oid = name.startsWith('base.') ? undefined : tablespaceOid(name.replace(/\..*$/, ''))
        return this.#begin({ kind: 'archive', oid, location, isTerminated: true })
      }
      case 0x6d:
        return this.#begin({ kind: 'manifest' })
      case 0x70:
        return this.#arrivals.event({ kind: 'progress', bytes: new ByteReader(note).u64() })
      default:
        throw new Malformed(`a message of kind ${this.#kind} in a base backup`)
    }
  }

  copyDone(): void {}

  #begin(event: BackupEvent): void {
    this.#hasTarget = true
    this.#arrivals.event(event)
  }
}

function position(set: (string | null)[][] | undefined): { lsn: Lsn; timeline: Timeline } {
  const [at, timeline] = set?.[0] ?? []
  return { lsn: parseLsn(at ?? ''), timeline: parseTimeline(timeline ?? '') }
}

function tablespaceOid(text: string): number {
  if (!/^\d{1,10}$/.test(text)) throw new Malformed(`tablespace ${JSON.stringify(text.slice(0, 40))}`)
  return Number(text)
}
