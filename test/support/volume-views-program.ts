import { createInterface } from 'node:readline'
import { systemClock } from '../../src/base/clock.ts'
import { apiVolume } from '../../src/cli/api-volume.ts'
import { listenUnix, type NbdListener } from '../../src/nbd/listen.ts'
import { openMoment, type OpenedMoment } from '../../src/recover/volume/open-moment.ts'
import { socketApiClient } from '../../src/wire/http-client.ts'
import { type FromViews, type ToViews, viewName } from './volume-views.ts'

/** Opens points of a volume as `tidemark open --writable` does: many of them, without a start of the program for each. */
const [apiSocket = '', source = '', folder = ''] = process.argv.slice(2)
const client = socketApiClient(apiSocket)
const open = new Map<string, { readonly moment: OpenedMoment; readonly listener: NbdListener }>()
const say = (message: FromViews): void => void process.stdout.write(`${JSON.stringify(message)}\n`)

for await (const line of createInterface({ input: process.stdin })) {
  const message = JSON.parse(line) as ToViews
  // Several at once.
  void answer(message).catch((error: unknown) => say({ kind: 'failed', socket: message.socket, why: String(error) }))
}

// Whoever still uses a view gets an error, and does not wait for ever.
process.exit(0)

async function answer({ kind, at, socket }: ToViews): Promise<void> {
  if (kind === 'open') {
    const origin = await apiVolume(client, source, at)
    const request = { name: viewName, source: 'a'.repeat(32), overlay: { temporaryBelow: folder } }
    const parts = { origin, clock: systemClock, tell: (told: string) => process.stderr.write(`${told}\n`) }
    const moment = openMoment(request, parts, new AbortController().signal)
    const listener = await listenUnix({ path: socket }, [moment.export], { clock: systemClock })
    open.set(socket, { moment, listener })
    return say({ kind: 'open', socket, at: origin.point.at, moment: origin.point.moment })
  }
  const { moment, listener } = open.get(socket) ?? {}
  await listener?.[Symbol.asyncDispose]()
  moment?.[Symbol.dispose]()
  open.delete(socket)
  say({ kind: 'closed', socket })
}
