import { createPhysicalSlot, identifySystem, readSlot } from '../../src/capture/postgres/protocol/replication.ts'
import { startPhysical } from '../../src/capture/postgres/protocol/wal-stream.ts'
import { advanceLsn } from '../../src/model/lsn.ts'
import type { Cluster } from './postgres.ts'

/** Streams WAL over a slot of its name and acknowledges it, as the vault would; `acknowledges` may be turned off. */
export class Receiver implements AsyncDisposable {
  acknowledges = true
  readonly ended: Promise<unknown>
  readonly #close: () => Promise<void>

  private constructor(ended: Promise<unknown>, close: () => Promise<void>) {
    this.ended = ended
    this.#close = close
  }

  static async start(cluster: Cluster, name: string): Promise<Receiver> {
    const connection = await cluster.connect('replication', { applicationName: name })
    await using sql = await cluster.connect('database')
    if ((await readSlot(sql, name)) === undefined) await createPhysicalSlot(connection, name)
    const { flushed, timeline } = await identifySystem(connection)
    const stream = await startPhysical(connection, { slot: name, start: flushed, timeline })
    stream.sendStatus({ written: flushed, flushed })
    const follow = async (): Promise<unknown> => {
      try {
        for await (const item of stream) {
          if (item.kind !== 'wal' || !receiver.acknowledges) continue
          const end = advanceLsn(item.start, item.bytes.length)
          stream.sendStatus({ written: end, flushed: end })
        }
        return undefined
      } catch (error) {
        return error
      }
    }
    const receiver: Receiver = new Receiver(Promise.resolve().then(follow), () => connection[Symbol.asyncDispose]())
    return receiver
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close()
    await this.ended
  }
}
