import { createPhysicalSlot, identifySystem, readSlot } from '../../src/capture/postgres/protocol/replication.ts'
import { startPhysical } from '../../src/capture/postgres/protocol/wal-stream.ts'
import { advanceLsn } from '../../src/model/lsn.ts'
import type { Cluster } from './postgres.ts'

/** Streams WAL over a slot of its name and acknowledges it, as the vault would; `acknowledges` may be turned off. */
export class Receiver implements AsyncDisposable {
  acknowledges = true
  readonly ended: Promise<unknown>
  /** Says again what it has acknowledged: the server judges by what is heard since its settings have changed. */
  readonly repeat: () => void
  readonly #close: () => Promise<void>

  private constructor(parts: { ended: Promise<unknown>; repeat: () => void; close: () => Promise<void> }) {
    this.ended = parts.ended
    this.repeat = parts.repeat
    this.#close = parts.close
  }

  static async start(cluster: Cluster, name: string): Promise<Receiver> {
    const connection = await cluster.connect('replication', { applicationName: name })
    await using sql = await cluster.connect('database')
    if ((await readSlot(sql, name)) === undefined) await createPhysicalSlot(connection, name)
    const { flushed, timeline } = await identifySystem(connection)
    const stream = await startPhysical(connection, { slot: name, start: flushed, timeline })
    let end = flushed
    const repeat = (): void => stream.sendStatus({ written: end, flushed: end })
    repeat()
    const follow = async (): Promise<unknown> => {
      try {
        for await (const item of stream) {
          if (item.kind !== 'wal' || !receiver.acknowledges) continue
          end = advanceLsn(item.start, item.bytes.length)
          repeat()
        }
        return undefined
      } catch (error) {
        return error
      }
    }
    const receiver: Receiver = new Receiver({
      ended: Promise.resolve().then(follow),
      repeat,
      close: () => connection[Symbol.asyncDispose](),
    })
    return receiver
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close()
    await this.ended
  }
}
