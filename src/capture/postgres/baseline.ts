import { unreachable } from '../../base/assert.ts'
import { Malformed } from '../../base/bytes.ts'
import { TidemarkError } from '../../base/errors.ts'
import { backupManifestPath, dataFolder, tablespaceFolder } from '../../format/postgres-tree.ts'
import type { Attributes } from '../../model/change.ts'
import type { Lsn, Timeline } from '../../model/lsn.ts'
import { joinPath, parentOf, type TreePath } from '../../model/path.ts'
import { ChunkIds } from '../chunk-ids.ts'
import type { BulkSink } from './bulk-sink.ts'
import { FileCopy } from './file-copy.ts'
import { type BackupEvent, type BackupRequest, baseBackup } from './protocol/base-backup.ts'
import type { Connection } from './protocol/connection.ts'
import { show } from './protocol/replication.ts'
import { type TarEntry, TarReader } from './tar-reader.ts'

export interface BaselineRequest {
  /** Of the baseline: its place in the tree is `base/<number>`. */
  readonly number: number
  /** HMAC key of chunk ids. */
  readonly chunkKey: Uint8Array
  readonly bytesPerSecondMax?: number | undefined
  /** Comes to stand in backup_label. */
  readonly label: string
  readonly checkpoint: 'fast' | 'spread'
  /** Ends the copy and the connection. */
  readonly signal: AbortSignal
  /** Called often. `bytesTotal` is the server's estimate of the data, and may be passed. */
  readonly progress: (bytes: number, bytesTotal: number, files: number) => void
}

export interface BaselineResult {
  /** WAL is needed from here on. */
  readonly start: Lsn
  /** The copy is consistent when WAL up to here is applied; that it is in the journal is the caller's affair. */
  readonly end: Lsn
  readonly timeline: Timeline
  /** Regular files and their bytes, holes included; backup_manifest is one of them. */
  readonly files: number
  readonly bytes: number
  readonly tablespaces: readonly { readonly oid: number; readonly location: string }[]
  /** The server's words about pages with wrong checksums; the copy is as good as the server's own files. */
  readonly damage: string | undefined
  /** 0 from servers before version 13, which write none. */
  readonly manifestBytes: number
}

/** What MAX_RATE may say; more is no limit. */
const kibPerSecond = { min: 32, max: 1024 * 1024 }

/**
 * Copies the whole cluster into `base/<number>`: a base backup, file by file as it streams, without the files ever standing
 * anywhere. At most a few MiB are held here. A signal, a failing sink or a server that sends something else end the
 * connection; what was written until then is to be removed with its folder.
 */
export async function copyBaseline(
  connection: Connection,
  request: BaselineRequest,
  sink: BulkSink,
): Promise<BaselineResult> {
  const { signal } = request
  const abort = (): void => connection.fail(signal.reason)
  signal.throwIfAborted()
  signal.addEventListener('abort', abort, { once: true })
  try {
    const folderMode = Number.parseInt(await show(connection, 'data_directory_mode'), 8)
    return await new BaselineCopy(request, sink, folderMode).run(connection)
  } catch (error) {
    signal.throwIfAborted()
    if (!(error instanceof Malformed)) throw error
    throw new TidemarkError('protocol-violation', {
      message: `the base backup of ${connection.where} holds ${error.message}`,
      hint: 'check that the server is an unchanged PostgreSQL, and look into its log',
      cause: error,
    })
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

/** The archive being read, and where its entries come to stand. */
interface Archive {
  readonly tar: TarReader
  readonly folder: TreePath
  readonly isTerminated: boolean
}

class BaselineCopy {
  readonly #request: BaselineRequest
  readonly #sink: BulkSink
  readonly #ids: ChunkIds
  /** As `data_directory_mode` has it, of the folders that archives are unpacked into; they are not in the archives. */
  readonly #folderMode: number
  /** Owner and times of the first entry. */
  #owner: Attributes | undefined
  readonly #put = new Set<TreePath>()
  #archive: Archive | undefined
  #file: FileCopy | undefined
  #manifest: FileCopy | undefined
  #bytes = 0
  #files = 0

  constructor(request: BaselineRequest, sink: BulkSink, folderMode: number) {
    this.#request = request
    this.#sink = sink
    this.#ids = new ChunkIds(request.chunkKey)
    this.#folderMode = folderMode
  }

  async run(connection: Connection): Promise<BaselineResult> {
    let start: Extract<BackupEvent, { kind: 'start' }> | undefined
    let bytesTotal = 0
    for await (const event of baseBackup(connection, backupRequest(this.#request))) {
      switch (event.kind) {
        case 'start':
          start = event
          bytesTotal = event.tablespaces.reduce((sum, { bytes }) => sum + (bytes ?? 0), 0)
          break
        case 'archive':
          this.#endArchive()
          this.#archive = {
            tar: new TarReader(),
            folder: this.#folderOf(event.oid),
            isTerminated: event.isTerminated,
          }
          break
        case 'manifest':
          this.#endArchive()
          this.#manifest = this.#beginManifest()
          break
        case 'data':
          await this.#data(event.bytes)
          this.#request.progress(this.#bytes, bytesTotal, this.#files)
          break
        case 'progress':
          break
        case 'end': {
          this.#endArchive()
          await this.#manifest?.finish()
          await this.#sink.flush()
          if (start === undefined) throw new Malformed('an end without a start')
          return {
            start: start.lsn,
            end: event.lsn,
            timeline: start.timeline,
            files: this.#files,
            bytes: this.#bytes,
            tablespaces: start.tablespaces.flatMap(({ oid, location }) =>
              oid === undefined ? [] : [{ oid, location }],
            ),
            damage: event.damage,
            manifestBytes: this.#manifest?.bytes ?? 0,
          }
        }
        default:
          return unreachable(event)
      }
    }
    throw new Malformed('no end')
  }

  #folderOf(oid: number | undefined): TreePath {
    const { number } = this.#request
    return oid === undefined ? dataFolder(number) : tablespaceFolder(number, oid)
  }

  async #data(bytes: Buffer): Promise<void> {
    if (this.#manifest) {
      this.#bytes += bytes.length
      return this.#manifest.add(bytes)
    }
    const archive = this.#archive
    if (archive === undefined) throw new Malformed('data before its archive')
    for (const item of archive.tar.read(bytes)) {
      if (item.kind === 'entry') {
        await this.#entry(archive, item.entry)
      } else {
        await this.#file?.add(item.bytes)
        this.#bytes += item.bytes.length
        if (item.isLast) await this.#file?.finish()
      }
    }
  }

  async #entry({ folder }: Archive, entry: TarEntry): Promise<void> {
    const { mode, uid, gid, modifiedNs } = entry
    const attributes: Attributes = { mode, uid, gid, modifiedNs, xattrs: [] }
    await this.#folders(folder, attributes)
    const path = joinPath(folder, entry.path)
    switch (entry.type) {
      case 'directory':
        return this.#sink.write({ kind: 'put', path, attributes, content: { type: 'directory' } }, [])
      case 'symlink':
        return this.#sink.write(
          { kind: 'put', path, attributes, content: { type: 'symlink', target: entry.target } },
          [],
        )
      case 'file':
        this.#files++
        this.#file = new FileCopy({ path, attributes, bytes: entry.bytes }, this.#sink, this.#ids)
        return
      default:
        return unreachable(entry.type)
    }
  }

  /** Puts what stands above the first entry of an archive, and has not been put. */
  async #folders(folder: TreePath, first: Attributes): Promise<void> {
    const missing: TreePath[] = []
    for (let at = folder; at !== '' && !this.#put.has(at); at = parentOf(at)) missing.unshift(at)
    const attributes = { ...first, mode: this.#folderMode }
    this.#owner ??= attributes
    for (const path of missing) {
      this.#put.add(path)
      await this.#sink.write({ kind: 'put', path, attributes, content: { type: 'directory' } }, [])
    }
  }

  #endArchive(): void {
    this.#archive?.tar.end(this.#archive.isTerminated)
    this.#archive = undefined
  }

  #beginManifest(): FileCopy {
    if (this.#manifest !== undefined || this.#owner === undefined) throw new Malformed('a manifest out of place')
    this.#files++
    const attributes = { ...this.#owner, mode: this.#folderMode & 0o666 }
    return new FileCopy(
      { path: backupManifestPath(this.#request.number), attributes, bytes: undefined },
      this.#sink,
      this.#ids,
    )
  }
}

function backupRequest({ label, checkpoint, bytesPerSecondMax }: BaselineRequest): BackupRequest {
  const kibPerSecondMax = Math.max(kibPerSecond.min, Math.floor((bytesPerSecondMax ?? Infinity) / 1024))
  const isLimited = kibPerSecondMax <= kibPerSecond.max
  return { label, checkpoint, estimate: true, ...(isLimited ? { kibPerSecondMax } : {}) }
}
