import { severities } from '../api/console.ts'
import type { Clock } from '../base/clock.ts'
import { Exposition, type Told } from '../monitoring/exposition.ts'
import { softwareVersion } from '../wire/software.ts'
import type { Context } from './context.ts'

/** From what stands in memory to what is read at a vault in another town. */
const answeredSeconds = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10]

/**
 * Every metric of a console; docs/operate/monitoring.md tells how they are used. A name ends in its unit; one without is a number
 * of things, or 1 for yes. Labels are names of vaults, severities, and classes of answers.
 */
const declare = (process: Exposition) => ({
  info: process.gauge('info', 'Always 1; its label tells which version it runs', ['version']),
  connected: process.gauge('vault_connected', '1 while the vault tells this console what happens', ['vault']),
  certificate: process.gauge('vault_certificate_left_seconds', 'Until the certificate for the vault ends', ['vault']),
  sources: process.gauge('vault_sources', 'Sources of the vault, as it told last', ['vault']),
  sessions: process.gauge('sessions', 'Browsers that are signed in'),
  pages: process.gauge('live_pages', 'Open pages that are told at once of what happens'),
  alarms: process.gauge('alarms', 'Alarms that last', ['severity']),
  audit: process.counter('audit_records_total', 'Records of the audit log since its beginning'),
  answered: process.histogram('answer_seconds', 'Time to answer a request', answeredSeconds, ['status']),
})

export class ConsoleMetrics {
  readonly exposition: Exposition
  readonly #clock: Clock
  readonly #known

  constructor(clock: Clock) {
    this.#clock = clock
    this.exposition = new Exposition('tidemark_console', clock)
    this.#known = declare(this.exposition)
  }

  answered(status: number, ms: number): void {
    this.#known.answered.observe({ status: `${Math.floor(status / 100)}xx` }, ms / 1000)
  }

  tell(context: Context): Promise<Told> {
    return this.exposition.tell(async () => this.#read(context))
  }

  #read({ federation, sessions, live, audit }: Context): void {
    const known = this.#known
    known.info.set({ version: softwareVersion }, 1)
    for (const one of [known.connected, known.certificate, known.sources]) one.reset()
    for (const { entry, certificateExpires, lastTold } of federation.vaults) {
      const vault = entry.name
      known.connected.set({ vault }, Number(entry.connected))
      known.certificate.set({ vault }, (certificateExpires - this.#clock.now()) / 1e6)
      known.sources.set({ vault }, lastTold?.sources.length ?? 0)
    }
    known.sessions.set(sessions.count)
    known.pages.set(live.pages)
    const alarms = live.alarmsNow()
    for (const severity of severities)
      known.alarms.set({ severity }, alarms.filter((alarm) => alarm.severity === severity).length)
    known.audit.reset()
    known.audit.inc(audit.last)
  }
}
