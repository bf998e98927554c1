import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { type Agent, differences, type World } from './harness.ts'

/** Moments at which nothing was being changed, each with a copy of how the directory was. */
export class RecordedMoments {
  readonly #world: World
  readonly #source: string
  readonly #directory: string
  readonly #moments: { at: string; copy: string }[] = []
  #restores = 0

  constructor(world: World, source: string, directory: string) {
    this.#world = world
    this.#source = source
    this.#directory = directory
  }

  get count(): number {
    return this.#moments.length
  }

  async record(limitMs?: number): Promise<void> {
    this.#keep(await this.#world.quietMoment(this.#source, limitMs))
  }

  /** While the vault is away. */
  async recordAtAgent(agent: Agent): Promise<void> {
    this.#keep(await this.#world.quietAgentMoment(agent, this.#source))
  }

  #keep(at: string): void {
    const copy = join(this.#world.folder, `${this.#source}-moment-${this.#moments.length}`)
    execFileSync('cp', ['-a', this.#directory, copy])
    this.#moments.push({ at, copy })
  }

  /** Restores one of them and has it compared, by rsync, in content, names, types, owners, modes, times and attributes. */
  async check(index: number): Promise<void> {
    const { at, copy } = this.#moments[index] as { at: string; copy: string }
    const to = join(this.#world.folder, `restored-${this.#restores++}`)
    await this.#world.restore(this.#source, at, to)
    assert.equal(differences(copy, join(to, this.#directory)), '', `moment ${index} of ${this.#source}, ${at}`)
    rmSync(to, { recursive: true })
  }

  async checkAll(): Promise<void> {
    for (let index = 0; index < this.#moments.length; index++) await this.check(index)
  }
}
