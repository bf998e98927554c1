import type { Thresholds } from '../../api/console.ts'

/** What holds where nothing is set. An agent renews its certificate (30 days) when 10 days are left of it. */
export const defaultThresholds: Thresholds = {
  agentGoneMs: 20_000,
  certificateDays: 5,
  fullDays: 14,
  verificationDays: 35,
}

/** A system's own thresholds stand in place of those of everything. */
export class ThresholdsBySystem {
  readonly everything: Thresholds
  readonly #systems: ReadonlyMap<string, Thresholds>

  constructor(set: readonly Thresholds[] = []) {
    this.everything = set.find(({ system }) => system === undefined) ?? defaultThresholds
    this.#systems = new Map(set.flatMap((one) => (one.system === undefined ? [] : [[one.system, one]])))
  }

  of(system: string): Thresholds {
    return this.#systems.get(system) ?? this.everything
  }

  /** For what several systems share: whichever warns first. */
  strictest(systems: readonly string[]): Thresholds {
    const all = systems.map((system) => this.of(system))
    if (all.length === 0) return this.everything
    return {
      agentGoneMs: Math.min(...all.map(({ agentGoneMs }) => agentGoneMs)),
      certificateDays: Math.max(...all.map(({ certificateDays }) => certificateDays)),
      fullDays: Math.max(...all.map(({ fullDays }) => fullDays)),
      verificationDays: Math.min(...all.map(({ verificationDays }) => verificationDays)),
    }
  }
}
