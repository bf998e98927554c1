import { isCode } from '../../src/base/errors.ts'
import { moment } from '../../src/model/moment.ts'
import { beforeFirst, type Sequence } from '../../src/model/sequence.ts'
import type { Id } from '../../src/model/source.ts'
import { resolvePoint } from '../../src/vault/views/points.ts'
import type { AgentMachine } from './agent-machine.ts'
import { JournalSession } from '../../src/wire/ship.ts'
import { Life, MachineClock, SimulatedTime } from './clock.ts'
import { quick } from './disk.ts'
import { faultKinds, type FaultKind, Faults, plenty } from './faults.ts'
import type { Machinery, Plant } from './machinery.ts'
import { SimulatedNetwork } from './network.ts'
import { Broken } from './oracle.ts'
import { Seeded } from './random.ts'
import { newVault, serversWithFiles, serverWithVolumes, type WorldKind } from './servers.ts'
import type { ProtectedSource } from './source.ts'
import { Trace } from './trace.ts'
import type { Tree } from './tree.ts'
import type { VaultMachine } from './vault-machine.ts'
import type { SimulatedVolume } from './volume/volume.ts'

/** What a finished world has been through. */
export interface Passed {
  readonly events: number
  readonly changes: number
  readonly faults: number
  readonly holes: number
  readonly treesCompared: number
  readonly virtualMs: number
}

/** How long the servers are busy and things go wrong, and how long after that all must be well again. */
const busyMs: Readonly<Record<WorldKind, readonly [number, number]>> = { files: [1500, 8000], volumes: [1000, 4000] }
const settleMsMax = 240_000

/** One world, decided by its seed alone. Rejects with what was broken. */
export async function runWorld(
  seed: number,
  trace: Trace,
  plant: Plant = {},
  kind: WorldKind = 'files',
): Promise<Passed> {
  const time = new SimulatedTime()
  trace.timedBy(() => time.nowMs)
  const random = new Seeded(seed)
  const network = new SimulatedNetwork(time, random.fork('network'), trace)
  using world = new World({ time, random: random.fork('machines'), network, trace, plant }, random, kind)
  return await time.run(world.run(), busyMs[kind][1] + settleMsMax + 60_000)
}

class World implements Disposable {
  readonly #machinery: Machinery
  readonly #time: SimulatedTime
  readonly #random: Seeded
  readonly #trace: Trace
  readonly #network: SimulatedNetwork
  readonly #vault: VaultMachine
  readonly #kind: WorldKind
  readonly #kinds: readonly FaultKind[]
  #agents: readonly AgentMachine[] = []
  #volumes: readonly SimulatedVolume[] = []
  #misfortunes: Faults | undefined
  #isBusy = true
  #faults = 0
  #treesCompared = 0

  constructor(machinery: Machinery, random: Seeded, kind: WorldKind) {
    this.#machinery = machinery
    this.#kind = kind
    this.#time = machinery.time
    this.#trace = machinery.trace
    this.#network = machinery.network
    this.#random = random.fork('world')
    this.#kinds = faultKinds[kind].filter(() => this.#random.chance(0.6))
    this.#vault = newVault(machinery, this.#random, kind)
  }

  async run(): Promise<Passed> {
    await this.#build()
    const busyForMs = this.#random.integer(...busyMs[this.#kind])
    const parts = Promise.all([
      ...this.#sources.map((source) => this.#keepBusy(source)),
      this.#goWrong(),
      this.#lookAgainAndAgain(),
    ])
    parts.catch((error: unknown) => this.#time.fail(error))
    await this.#time.sleep(busyForMs)
    this.#isBusy = false
    await parts
    await this.#settle()
    await this.#expectAll('after everything has settled')
    for (const volume of this.#volumes) await volume.expectBacking()
    await this.#expectRefusals()
    if (this.#random.chance(0.5)) await this.#forgetAndLook()
    await this.#reopen()
    await this.#expectAll('after closing and opening the vault')
    for (const volume of this.#volumes) await this.#expectFlushes(volume)
    if (this.#random.chance(0.3)) await this.#expectDamageTold()
    const histories = this.#sources.map(({ history }) => history)
    return {
      events: this.#time.events,
      changes: histories.reduce((sum, { last }) => sum + last, 0),
      faults: this.#faults,
      holes: histories.reduce((sum, { holes }) => sum + holes, 0),
      treesCompared: this.#treesCompared,
      virtualMs: Math.round(this.#time.nowMs),
    }
  }

  get #sources(): ProtectedSource[] {
    return this.#agents.flatMap(({ sources }) => sources)
  }

  async #build(): Promise<void> {
    const { time, trace, network } = this.#machinery
    const random = this.#random
    const vault = this.#vault
    const building = { machinery: this.#machinery, random, vault }
    await vault.create()
    if (this.#kind === 'files') this.#agents = await serversWithFiles(building)
    else {
      const { machine, volumes } = await serverWithVolumes(building)
      this.#agents = [machine]
      this.#volumes = volumes
    }
    const [agents, volumes] = [this.#agents, this.#volumes]
    const randomPoint = (id: Id): Sequence => this.#randomPoint(id)
    this.#misfortunes = new Faults({ time, random, trace, network, vault, agents, volumes, randomPoint })
    for (const agent of agents) agent.start()
  }

  async #keepBusy(source: ProtectedSource): Promise<void> {
    const restMs = this.#kind === 'volumes' ? this.#random.skewed(5, 100) : this.#random.skewed(50, 1000)
    while (this.#isBusy) {
      for (let steps = this.#random.chance(0.1) ? this.#random.integer(2, 20) : 1; steps > 0; steps--) source.step()
      await this.#time.sleep(this.#random.integer(1, restMs * 2))
    }
  }

  async #goWrong(): Promise<void> {
    if (this.#kinds.length === 0) return
    const restMs = this.#kind === 'volumes' ? this.#random.skewed(100, 2000) : this.#random.skewed(200, 8000)
    while (this.#isBusy) {
      await this.#time.sleep(this.#random.integer(1, restMs * 2))
      if (!this.#isBusy) return
      this.#faults++
      await this.#misfortunes?.letHappen(this.#random.pick(this.#kinds))
    }
  }

  /** Compares what the vault gives out, at random points, while everything goes on. */
  async #lookAgainAndAgain(): Promise<void> {
    while (this.#isBusy) {
      await this.#time.sleep(this.#random.integer(200, 5000))
      for (const agent of this.#agents) this.#expectSpoolWithinLimit(agent)
      if (this.#random.chance(0.3)) this.#vault.catalogue.remember()
      const { id } = this.#random.pick(this.#sources).definition
      if (!this.#vault.isUp) continue
      if (this.#vault.indexed(id) > beforeFirst)
        await this.#expectTreeAt(id, this.#randomPoint(id), 'while everything goes on')
      if (this.#vault.isUp && this.#random.chance(0.3)) await this.#vault.expectJournal(id)
    }
  }

  #randomPoint(id: Id): Sequence {
    return this.#random.integer(this.#vault.keptFrom(id), this.#vault.indexed(id)) as Sequence
  }

  /** Without agents, whose sessions would keep chunks from being freed; then they come back and go on. */
  async #forgetAndLook(): Promise<void> {
    for (const agent of this.#agents) await agent.close()
    await this.#reopen()
    for (const { definition } of this.#sources) {
      const { id } = definition
      await this.#vault.forget(id, this.#vault.line(id).momentAt(this.#randomPoint(id)))
    }
    await this.#expectAll('after old history was forgotten')
    for (const agent of this.#agents) agent.start()
    for (const source of this.#sources) for (let steps = 0; steps < 5; steps++) source.step()
    await this.#settle()
    await this.#expectAll('after going on with a shorter history')
  }

  async #reopen(): Promise<void> {
    await this.#vault.close()
    this.#vault.start()
    await this.#time.until(() => this.#sources.every(({ definition: { id } }) => this.#isIndexed(id)))
  }

  #isIndexed(id: Id): boolean {
    const { vault } = this.#vault
    return vault !== undefined && this.#vault.indexed(id) === vault.journal(id).durable
  }

  async #expectTreeAt(id: Id, at: Sequence, told: string): Promise<void> {
    const line = this.#vault.line(id)
    const tree = await this.#vault.treeAt(id, at)
    if (tree === undefined) return
    line.expectTree(tree, at, told)
    this.#volumes.find(({ definition }) => definition.id === id)?.expectTree(tree, line, at, told)
    this.#treesCompared++
  }

  /** Faults are over: everything has to find together again by itself. */
  async #settle(): Promise<void> {
    this.#trace.add('world', 'faults end')
    const vault = this.#vault
    vault.disk.speed = quick
    vault.disk.capacityBytes = plenty
    this.#network.quality = new SimulatedNetwork(this.#time, this.#random, this.#trace).quality
    for (const { name } of this.#agents) {
      this.#network.heal(name, vault.name)
      this.#network.heal(vault.name, name)
    }
    vault.start()
    for (const agent of this.#agents) agent.start()
    const giveUpMs = this.#time.nowMs + settleMsMax
    while (!this.#isSettled()) {
      if (this.#time.nowMs > giveUpMs)
        throw new Broken(1, `nothing settled within ${settleMsMax / 1000} s:\n${this.#unsettled()}`)
      await this.#time.sleep(100)
    }
    this.#trace.add('world', 'settled')
  }

  #isSettled(): boolean {
    const vault = this.#vault
    return this.#sources.every((source) => {
      const { definition, history } = source
      return (
        vault.vault !== undefined &&
        history.isAllIn(vault.vault.journal(definition.id).end.cursor) &&
        vault.indexed(definition.id) === history.last &&
        source.behind().length === 0
      )
    })
  }

  #unsettled(): string {
    const told = this.#sources.map(({ definition: { id, name }, history }) => {
      const durable = this.#vault.vault?.journal(id).durable ?? 'unknown'
      return `${name}: said ${history.last}, durable ${durable}, acknowledged ${history.acknowledged}, indexed ${this.#vault.indexed(id)}`
    })
    return [...told, ...this.#agents.flatMap((agent) => agent.lastErrors())].join('\n')
  }

  async #expectAll(told: string): Promise<void> {
    for (const source of this.#sources) {
      const { id } = source.definition
      const line = this.#vault.line(id)
      if (line.last !== source.history.last) {
        throw new Broken(
          1,
          `${source.history.name}: ${source.history.last} was said, the journal ends at ${line.last} ${told}`,
        )
      }
      await this.#time.until(() => this.#isIndexed(id))
      await this.#vault.expectJournal(id)
      for (let count = 0; count < 3; count++) await this.#expectTreeAt(id, this.#randomPoint(id), told)
      await this.#expectTreeAt(id, line.last, told)
      this.#expectMoments(id, told)
    }
  }

  async #expectFlushes(volume: SimulatedVolume): Promise<void> {
    const { id } = volume.definition
    const treeAt = (at: Sequence): Promise<Tree | undefined> => this.#vault.treeAt(id, at)
    this.#treesCompared += await volume.expectFlushes(this.#vault.line(id), this.#vault.keptFrom(id), treeAt)
  }

  /** A moment means the last change that was not after it. */
  #expectMoments(id: Id, told: string): void {
    const line = this.#vault.line(id)
    for (let count = 0; count < 5; count++) {
      const near = line.momentAt(this.#random.integer(1, line.last) as Sequence)
      const wanted = moment(near + this.#random.integer(-1, 1))
      const last = line.lastAtMoment(wanted)
      const expected = last < this.#vault.keptFrom(id) ? beforeFirst : last
      let found: Sequence = beforeFirst
      try {
        found = resolvePoint(this.#vault.rows(id), { kind: 'moment', moment: wanted }).sequence
      } catch (error) {
        if (!isCode(error, 'point-unreachable')) throw error
      }
      if (found !== expected)
        throw new Broken(7, `${told}, moment ${wanted} is ${expected}, and was resolved as ${found}`)
    }
  }

  #expectSpoolWithinLimit({ name, disks, limits }: AgentMachine): void {
    for (const disk of disks) {
      if (disk.usedBytes > limits.spoolBytesMax + spoolSlackBytes) {
        throw new Broken(4, `${name}: the spool takes ${disk.usedBytes} bytes, and ${limits.spoolBytesMax} are allowed`)
      }
    }
  }

  /** An agent cannot append to the journal of another. */
  async #expectRefusals(): Promise<void> {
    const [one, other] = this.#agents
    if (one === undefined || other === undefined) return
    const { id } = other.sources[0]!.definition
    const life = new Life('intruder', this.#trace)
    const clock = new MachineClock(this.#time, life, one.wall)
    const link = await this.#network.dial(one.name, life, this.#vault.name)
    try {
      await JournalSession.open(link, { source: id, software: 'intruder' }, clock, new AbortController().signal)
    } catch (error) {
      if (isCode(error, 'not-allowed')) return
      throw error
    }
    throw new Broken(5, `${one.name} may append to the journal of ${other.name}`)
  }

  /** Whatever a flipped bit does, nobody is given wrong bytes: it is the right ones, or an error that names the file. */
  async #expectDamageTold(): Promise<void> {
    for (const agent of this.#agents) await agent.close()
    for (let count = this.#random.integer(1, 3); count > 0; count--) {
      // Once in a file: a last batch and the seal after it, both damaged, are a torn tail where the catalogue is lost too.
      const { disk } = this.#vault
      disk.flipBit((name) => /^(journals|packs)\//.test(name) && !disk.flipped.has(name))
    }
    await this.#lookAtDamaged('with a flipped bit')
    await this.#vault.close()
    this.#vault.start()
    await this.#time.until(() => this.#vault.isUp)
    await this.#time.sleep(5000)
    await this.#lookAtDamaged('after opening with a flipped bit')
  }

  async #lookAtDamaged(told: string): Promise<void> {
    for (const { definition } of this.#sources) {
      const { id } = definition
      if (this.#vault.vault!.journal(id).damage !== undefined || this.#vault.indexed(id) === beforeFirst) continue
      for (let count = 0; count < 3; count++) {
        await this.#orDamageNamed(() => this.#expectTreeAt(id, this.#randomPoint(id), told))
      }
      await this.#orDamageNamed(() => this.#vault.expectJournal(id))
    }
  }

  /** A chunk may be unknown where its pack is known to be damaged. */
  async #orDamageNamed(look: () => Promise<void>): Promise<void> {
    try {
      await look()
    } catch (error) {
      const isLost = isCode(error, 'not-found') && this.#vault.vault!.damage.length > 0
      if (!isLost && !this.#vault.isToldDamage(error)) throw error
    }
  }

  [Symbol.dispose](): void {
    for (const agent of this.#agents) agent[Symbol.dispose]()
    for (const volume of this.#volumes) volume[Symbol.dispose]()
    this.#vault[Symbol.dispose]()
  }
}

/** A file header, a seal and the note of what was acknowledged do not count as spooled. */
const spoolSlackBytes = 2000
