import { VolumeDisk } from '../../../src/capture/volume/server/disk.ts'
import type { VolumeFiles } from '../../../src/capture/volume/server/files.ts'
import type { ServerLink } from '../../../src/capture/volume/server-link.ts'
import type { RecordNumber } from '../../../src/format/volume-log.ts'
import type { Id, VolumeSettings } from '../../../src/model/source.ts'
import { SimulatedVolumeDisk } from '../../support/volume-disk-files.ts'
import { Life, MachineClock, never, type SimulatedTime, type Wall } from '../clock.ts'
import type { Seeded } from '../random.ts'
import type { Trace } from '../trace.ts'
import { SimulatedVolumeLink } from './link.ts'
import type { VolumeUsers } from './users.ts'

export interface VolumeServerParts {
  readonly id: Id
  readonly name: string
  readonly settings: VolumeSettings
  readonly segmentBytes: number
  readonly logCapacity: number
  readonly time: SimulatedTime
  readonly random: Seeded
  readonly trace: Trace
  readonly wall: Wall
  readonly users: VolumeUsers
  readonly plantFiles: (files: VolumeFiles) => VolumeFiles
  readonly plantLink: (link: ServerLink) => ServerLink
}

/** An operation of its disks takes so long. */
const restMs = [0.3, 0.3, 4] as const
const startMsMax = 500

/** The process that serves a volume, again and again, and the disks that outlive it. */
export class SimulatedVolumeServer {
  readonly disk: SimulatedVolumeDisk
  readonly #parts: VolumeServerParts
  readonly #random: Seeded
  #life: Life
  /** While it serves. */
  volume: VolumeDisk | undefined
  #starting: Promise<unknown> = Promise.resolve()
  #link: SimulatedVolumeLink | undefined

  constructor(parts: VolumeServerParts) {
    this.#parts = parts
    const random = (this.#random = parts.random.fork(`server ${parts.name}`))
    this.#life = new Life(parts.name, parts.trace)
    this.#life.alive = false
    this.disk = new SimulatedVolumeDisk({
      random: random.fork('disks'),
      backingBytes: parts.users.bytes,
      logCapacity: parts.logCapacity,
      rest: () => parts.time.sleep(random.fraction() * random.pick(restMs)),
    })
    this.disk.ended = (how) => this.#ended(how)
  }

  get isAlive(): boolean {
    return this.#life.alive
  }

  /** As the agent does it: where it does not run it is started. */
  async connect(agent: Life): Promise<ServerLink> {
    if (!this.#life.alive) this.#start()
    await this.#life.answer(this.#starting)
    const { volume } = this
    if (!agent.alive) return await never()
    if (volume === undefined) throw new Error('no server of the volume runs')
    const { id, time, users } = this.#parts
    this.#link?.end()
    const life = this.#life
    const link = new SimulatedVolumeLink({
      id,
      volume,
      disk: this.disk,
      time,
      random: this.#random,
      agent,
      mark: (tag, label) => {
        users.marked(label)
        return life.through(volume.mark(tag, label) as Promise<RecordNumber>)
      },
      acknowledged: (epoch, number) => volume.acknowledged(epoch, number),
      failed: (error) => life.alive && time.fail(error),
    })
    this.#link = link
    return this.#parts.plantLink(link)
  }

  #start(): void {
    const { name, trace, time } = this.#parts
    this.#life = new Life(name, trace)
    trace.add(name, 'starts')
    this.#starting = this.#open(this.#life)
    this.#starting.catch((error: unknown) => this.#life.alive && time.fail(error))
  }

  async #open(life: Life): Promise<void> {
    const { id, name, settings, segmentBytes, time, trace, wall, users, plantFiles } = this.#parts
    const random = this.#random
    let ownMarks = 0
    await time.sleep(random.integer(0, startMsMax))
    const volume = await life.through(
      VolumeDisk.open({
        files: plantFiles(this.disk.files()),
        clock: new MachineClock(time, life, wall),
        random,
        volume: id,
        name,
        settings,
        limits: {
          segmentBytes,
          pendingMax: random.integer(40, 400),
          applyAt: random.integer(1, 100),
          applyMs: random.skewed(1, 500),
          syncMs: random.skewed(1, 50),
          checkpointMs: random.skewed(1, 5000),
          retryMs: 100,
        },
        told: {
          durable: () => life.alive && this.#link?.durable(),
          epoch: () => {
            trace.add(name, `gives history up after ${this.volume?.last}`)
            if (life.alive) this.#link?.epoch()
          },
          unprotected: (label) => {
            if (!life.alive) return
            if (this.volume === undefined) ownMarks++
            else users.marked(label)
          },
          ended: (error) => life.alive && time.fail(error),
        },
      }),
    )
    this.volume = volume
    try {
      users.begin(volume, ownMarks)
    } catch (error) {
      time.fail(error)
    }
    trace.add(name, `serves epoch ${volume.epoch}, records up to ${volume.last}`)
  }

  /** In the middle of an operation of its disks, some of them from now; or now. */
  end(how: 'power' | 'kill', operations = 0): void {
    if (operations === 0) this.disk.end(how)
    else this.disk.endAfter(operations, how)
  }

  #ended(how: 'power' | 'kill'): void {
    this.#life.kill(how === 'power' ? 'power cut' : 'killed')
    this.volume = undefined
    this.#parts.users.end(how)
    this.#link?.end()
    this.#link = undefined
  }

  /** In order: everything is in the backing then. */
  async close(): Promise<void> {
    const { volume } = this
    if (volume === undefined) return
    this.#link?.end()
    await this.#life.answer(volume[Symbol.asyncDispose]())
    this.end('kill')
  }
}
