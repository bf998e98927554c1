import { type ErrorCode, isCode } from '../../src/base/errors.ts'
import type { ChunkId } from '../../src/model/change.ts'
import { moment } from '../../src/model/moment.ts'
import { beforeFirst, type Sequence } from '../../src/model/sequence.ts'
import { defaultPolicy, type Id } from '../../src/model/source.ts'
import { resolvePoint } from '../../src/vault/views/points.ts'
import { AgentMachine, type AgentLimits } from './agent-machine.ts'
import { JournalSession } from '../../src/wire/ship.ts'
import { Life, MachineClock, SimulatedTime } from './clock.ts'
import { quick, slow } from './disk.ts'
import type { Machinery, Plant } from './machinery.ts'
import { SimulatedNetwork } from './network.ts'
import { Broken, History } from './oracle.ts'
import { Seeded } from './random.ts'
import { SimulatedSource } from './source.ts'
import { Trace } from './trace.ts'
import { VaultMachine } from './vault-machine.ts'

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
const busyMs: readonly [number, number] = [1_500, 8_000]
const settleMsMax = 240_000

const faultKinds = [
  'vault killed',
  'vault loses power',
  'vault closed and opened',
  'agent killed',
  'agent loses power',
  'agent stopped and started',
  'line cut',
  'line cut one way',
  'connections reset',
  'line slow',
  'answers lost',
  'disk of the vault slow',
  'disk of the vault full',
  'clock of the agent set',
  'clock of the vault set',
  'index thrown away',
  'old history forgotten',
  'old history forgotten',
  'reconciliation',
] as const
type FaultKind = (typeof faultKinds)[number]

/** One world, decided by its seed alone. Rejects with what was broken. */
export async function runWorld(seed: number, trace: Trace, plant: Plant = {}): Promise<Passed> {
  const time = new SimulatedTime()
  trace.timedBy(() => time.nowMs)
  const random = new Seeded(seed)
  const network = new SimulatedNetwork(time, random.fork('network'), trace)
  using world = new World({ time, random: random.fork('machines'), network, trace, plant }, random)
  return await time.run(world.run(), busyMs[1] + settleMsMax + 60_000)
}

class World implements Disposable {
  readonly #machinery: Machinery
  readonly #time: SimulatedTime
  readonly #random: Seeded
  readonly #trace: Trace
  readonly #network: SimulatedNetwork
  readonly #vault: VaultMachine
  readonly #kinds: readonly FaultKind[]
  #agents: readonly AgentMachine[] = []
  #isBusy = true
  #faults = 0
  #treesCompared = 0

  constructor(machinery: Machinery, random: Seeded) {
    this.#machinery = machinery
    this.#time = machinery.time
    this.#trace = machinery.trace
    this.#network = machinery.network
    this.#random = random.fork('world')
    this.#kinds = faultKinds.filter(() => this.#random.chance(0.6))
    this.#vault = new VaultMachine('vault', machinery, {
      segmentBytes: this.#random.skewed(600, 30_000),
      segmentAgeMs: this.#random.skewed(1000, 100_000),
      packBytes: this.#random.skewed(800, 30_000),
      waitingBytesMax: this.#random.skewed(4000, 200_000),
      blockCacheBytes: this.#random.skewed(1, 100_000),
      reserveBytes: 0,
      // What a session was told is kept for as long as it lasts, and no longer: collections have something to free.
      touchedKeptMs: 0,
    })
  }

  async run(): Promise<Passed> {
    await this.#build()
    const busyForMs = this.#random.integer(...busyMs)
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
    await this.#expectRefusals()
    if (this.#random.chance(0.5)) await this.#forgetAndLook()
    await this.#reopen()
    await this.#expectAll('after closing and opening the vault')
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

  get #sources(): SimulatedSource[] {
    return this.#agents.flatMap(({ sources }) => sources)
  }

  async #build(): Promise<void> {
    const random = this.#random
    await this.#vault.create()
    const agents: AgentMachine[] = []
    for (let count = random.integer(1, 2); count > 0; count--) {
      const name = `agent-${count}`
      const agent = await this.#vault.addAgent(name)
      const sources: SimulatedSource[] = []
      const chunksSent = new Set<ChunkId>()
      for (let each = random.integer(1, 3 - count); each > 0; each--) {
        const label = `files-${count}-${each}`
        const history = new History(label, chunksSent)
        const definition = await this.#vault.addSource(
          { name: label, kind: 'files', agent, paths: ['/'], exclude: [], policy: defaultPolicy, paused: false },
          history,
        )
        sources.push(new SimulatedSource(definition, history, random, this.#trace, (error) => this.#time.fail(error)))
      }
      agents.push(new AgentMachine(name, this.#machinery, { vault: this.#vault, sources, limits: this.#agentLimits() }))
    }
    this.#agents = agents
    for (const agent of agents) agent.start()
  }

  #agentLimits(): AgentLimits {
    return {
      spoolBytesMax: this.#random.skewed(2000, 500_000),
      memoryBytesMax: this.#random.skewed(1000, 200_000),
    }
  }

  async #keepBusy(source: SimulatedSource): Promise<void> {
    const restMs = this.#random.skewed(50, 1000)
    while (this.#isBusy) {
      for (let steps = this.#random.chance(0.1) ? this.#random.integer(2, 20) : 1; steps > 0; steps--) source.step()
      await this.#time.sleep(this.#random.integer(1, restMs * 2))
    }
  }

  async #goWrong(): Promise<void> {
    if (this.#kinds.length === 0) return
    const restMs = this.#random.skewed(200, 8000)
    while (this.#isBusy) {
      await this.#time.sleep(this.#random.integer(1, restMs * 2))
      if (!this.#isBusy) return
      this.#faults++
      await this.#letHappen(this.#random.pick(this.#kinds))
    }
  }

  async #letHappen(kind: FaultKind): Promise<void> {
    const random = this.#random
    const vault = this.#vault
    const agent = random.pick(this.#agents)
    const soon = (ms: number, action: () => void): void => void this.#time.after(random.integer(1, ms), action)
    this.#trace.add('world', kind)
    switch (kind) {
      case 'vault killed':
      case 'vault loses power':
        if (random.chance(0.7)) await this.#somethingAcknowledged()
        vault.crash({ powerGoes: kind === 'vault loses power' })
        return soon(5000, () => vault.start())
      case 'vault closed and opened':
        await vault.close()
        return soon(3000, () => vault.start())
      case 'agent killed':
      case 'agent loses power':
        agent.crash({ powerGoes: kind === 'agent loses power' })
        return soon(random.pick([100, 15_000]), () => agent.start())
      case 'agent stopped and started':
        await agent.close()
        return soon(3000, () => agent.start())
      case 'line cut':
      case 'line cut one way': {
        const ways = [
          [agent.name, vault.name],
          [vault.name, agent.name],
        ] as const
        const cut = kind === 'line cut' ? ways : [random.pick(ways)]
        for (const [from, to] of cut) this.#network.cut(from, to)
        return soon(random.pick([1000, 30_000]), () => cut.forEach(([from, to]) => this.#network.heal(from, to)))
      }
      case 'connections reset':
        return this.#network.reset(random.pick([agent.name, vault.name]), 'connection reset')
      case 'line slow': {
        const usual = this.#network.quality
        this.#network.quality = { ...usual, latencyMs: 400, jitterMs: 300, bytesPerMs: 5 }
        return soon(
          8000,
          () => (this.#network.quality = { ...usual, lostAnswerChance: this.#network.quality.lostAnswerChance }),
        )
      }
      case 'answers lost':
        this.#network.quality = { ...this.#network.quality, lostAnswerChance: 0.5 }
        return soon(10_000, () => (this.#network.quality = { ...this.#network.quality, lostAnswerChance: 0 }))
      case 'disk of the vault slow':
        vault.disk.speed = slow
        return soon(6000, () => (vault.disk.speed = quick))
      case 'disk of the vault full':
        vault.disk.capacityBytes = vault.disk.usedBytes + random.integer(0, 2000)
        return soon(10_000, () => (vault.disk.capacityBytes = plenty))
      case 'clock of the agent set':
        agent.wall.us += random.integer(-60, 60) * 1_000_000
        return
      case 'clock of the vault set':
        vault.wall.us += random.integer(-60, 60) * 1_000_000
        return
      case 'index thrown away':
        return vault.reindex(random.pick(this.#sources).definition.id)
      case 'old history forgotten':
        return this.#forgetSome(random.pick(this.#sources).definition.id)
      case 'reconciliation':
        return random.pick(this.#sources).reconcile()
      default:
        return kind satisfies never
    }
  }

  /** Within a few milliseconds of an acknowledgement, which is when a promise is easiest broken. */
  async #somethingAcknowledged(): Promise<void> {
    await Promise.race([this.#vault.acknowledging, this.#time.sleep(3000)])
    await this.#time.sleep(this.#random.fraction() * this.#random.pick([0.01, 1, 5]))
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

  /** Goes on beside everything else. */
  #forgetSome(id: Id): void {
    if (!this.#vault.isUp || this.#vault.indexed(id) === beforeFirst) return
    const { last } = this.#vault.line(id)
    const before = moment(this.#vault.line(id).momentAt(Math.min(this.#randomPoint(id), last) as Sequence))
    this.#vault.forget(id, before).catch((error: unknown) => {
      const isExpected = ['vault-full', 'interrupted', 'already-running'].some((code) =>
        isCode(error, code as ErrorCode),
      )
      if (!isExpected) this.#time.fail(error)
    })
  }

  async #expectTreeAt(id: Id, at: Sequence, told: string): Promise<void> {
    const line = this.#vault.line(id)
    const tree = await this.#vault.treeAt(id, at)
    if (tree === undefined) return
    line.expectTree(tree, at, told)
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
    this.#vault[Symbol.dispose]()
  }
}

const plenty = 1e9
/** A file header, a seal and the note of what was acknowledged do not count as spooled. */
const spoolSlackBytes = 2000
