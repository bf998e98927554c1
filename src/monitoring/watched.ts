import type { Told } from './exposition.ts'

/** Why a process cannot do its work now, and the next step. */
export interface Reason {
  readonly code: string
  readonly message: string
  readonly hint: string
}

/** What a process tells to whoever watches it: a Prometheus server, a load balancer, a supervisor. */
export interface Watched {
  readonly identity: () => { readonly process: string; readonly name: string; readonly version: string }
  readonly metrics: () => Promise<Told>
  /** Empty while the process does its work. */
  readonly reasons: () => Promise<readonly Reason[]> | readonly Reason[]
}

export const watchedPaths = ['/metrics', '/healthz', '/readyz'] as const
export type WatchedPath = (typeof watchedPaths)[number]

/** `/healthz`: the process lives, whatever it can do. `/readyz`: it does its work (200), or why not (503). */
export async function answerWatcher(path: WatchedPath, watched: Watched): Promise<Told> {
  switch (path) {
    case '/metrics':
      return watched.metrics()
    case '/healthz':
      return json(200, { ...watched.identity(), alive: true })
    case '/readyz': {
      const reasons = await watched.reasons()
      const ready = reasons.length === 0
      return json(ready ? 200 : 503, { ...watched.identity(), ready, reasons })
    }
  }
}

const json = (status: number, body: unknown): Told => ({
  status,
  type: 'application/json',
  text: `${JSON.stringify(body)}\n`,
})
