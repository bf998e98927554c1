import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve as resolvePath } from 'node:path'
import type { Command } from 'commander'
import { TidemarkError } from '../base/errors.ts'
import { formatMoment, isoMoment } from '../model/moment.ts'
import type { Export } from '../nbd/export.ts'
import { listenTcp, listenUnix, type NbdListener } from '../nbd/listen.ts'
import type { NbdServing } from '../nbd/serve.ts'
import { shellWord } from '../recover/postgres/restore-command.ts'
import { openMoment } from '../recover/volume/open-moment.ts'
import type { VolumeOrigin } from '../recover/volume/origin.ts'
import { overlayBase } from '../recover/volume/overlay.ts'
import { apiVolume, describeSuspect } from './api-volume.ts'
import { connect } from './connect.ts'
import { holdPoint } from './held-point.ts'
import { formatBytes } from './format.ts'
import { exitStatus, exitStatusHelp, type Parts } from './parts.ts'
import { statusOf } from './postgres.ts'
import { parseAddress } from './option-values.ts'

interface OpenOptions {
  at?: string
  writable?: boolean
  overlay?: string
  socket?: string
  listen?: string
  certificate?: string
  key?: string
  clientsOf?: string
  json?: boolean
}

export function openCommand(program: Command, parts: Parts): void {
  program
    .command('open')
    .argument('<source>')
    .description('serve any moment of a volume over NBD, at once and whatever its size')
    .option('--at <point>', 'the moment (default: latest, or that of the overlay)')
    .option('--writable', 'let it be written: what is written goes to an overlay, and the past stays as it was')
    .option('--overlay <file>', 'keep what is written there, to open it again; else it is gone at the end')
    .option('--socket <path>', 'serve at this Unix socket (default: one in a folder of its own)')
    .option('--listen <host:port>', 'serve at a TCP port instead')
    .option('--certificate <file>', 'with --listen: what the server proves itself with, PEM')
    .option('--key <file>', 'with --listen: its key, PEM')
    .option('--clients-of <file>', 'with --listen: the authority that certificates of clients must be of, PEM')
    .option('--json', 'one JSON object once it is open')
    .addHelpText(
      'after',
      `
POINT is latest · a moment ("2026-11-22 14:03:11.250", ISO 8601, "10m ago") · flush (the last one) · flush:MOMENT ·
      seq:NUMBER · mark:LABEL
It serves for as long as it runs, and ends at SIGINT (Ctrl+C) or SIGTERM. Bytes are fetched from the vault when they are read.
Without --overlay, what was written is kept below the temporary folder (TMPDIR) until the end.
Examples:
  tidemark open machine-7 --at "10m ago"
  tidemark open machine-7 --at mark:before-upgrade --writable --overlay /srv/trial.overlay --socket /run/trial.sock
  tidemark open machine-7 --listen 127.0.0.1:10809
${exitStatusHelp}`,
    )
    .action(async (name: string, options: OpenOptions, command: Command) => {
      const client = connect(command, parts)
      const status = await statusOf(client, name)
      if (status.kind !== 'volume')
        throw new TidemarkError('bad-request', {
          message: `${status.name} is a source of kind ${status.kind}`,
          hint: 'only a volume can be opened; "tidemark restore" brings other kinds back',
        })
      const origin = await apiVolume(client, status.id, pointOf(options))
      const { note, serving } = servingOf(options, parts)
      await using _held = await holdPoint({ client, source: status.id, at: origin.point.at, note }, parts)
      const request = { name: status.name, source: status.id, ...overlayOf(options) }
      // What is on its way when the command is stopped is still answered.
      const ended = new AbortController()
      using moment = openMoment(request, { origin, clock: parts.clock, tell: note }, ended.signal)
      {
        await using place = await listen(moment.export, options, serving)
        tell(place, moment.export, origin, options, parts)
        if (!parts.signal.aborted) await once(parts.signal, 'abort')
      }
      ended.abort(new Error('it is not served any more'))
      await moment.flush()
      parts.exitWith(exitStatus.done)
    })
}

/** An overlay that is there says which moment it lies over. */
function pointOf({ at, overlay }: OpenOptions): string {
  const base = at === undefined && overlay !== undefined ? overlayBase(resolvePath(overlay)) : undefined
  return base === undefined ? (at ?? 'latest') : `seq:${base.at}`
}

function overlayOf({ writable, overlay }: OpenOptions): Pick<Parameters<typeof openMoment>[0], 'overlay'> {
  if (overlay !== undefined && !writable)
    throw new TidemarkError('bad-request', {
      message: '--overlay is where writes go, and nobody may write',
      hint: 'give --writable too',
    })
  if (!writable) return {}
  return { overlay: overlay === undefined ? { temporaryBelow: tmpdir() } : { file: resolvePath(overlay) } }
}

function servingOf(
  options: OpenOptions,
  { clock, err }: Parts,
): { note: (message: string) => void; serving: NbdServing } {
  let last = ''
  // Of many reads that fail for one reason, it is told once.
  const note = (message: string): void => {
    if (message !== last) err.write(`${message}\n`)
    last = message
  }
  const { certificate, key, clientsOf } = options
  if (certificate === undefined && key === undefined) return { note, serving: { clock, noted: note } }
  if (certificate === undefined || key === undefined || options.listen === undefined)
    throw new TidemarkError('bad-request', {
      message: '--certificate and --key belong together, and to --listen',
      hint: 'give all three, or none',
    })
  const read = (file: string): string => readFileSync(file, 'utf8')
  const authority = clientsOf === undefined ? {} : { authority: read(clientsOf) }
  return {
    note,
    serving: { clock, noted: note, tls: { certificate: read(certificate), key: read(key), ...authority } },
  }
}

interface Place extends AsyncDisposable {
  readonly uri: string
  readonly socket?: string
  readonly address?: { readonly host: string; readonly port: number }
}

async function listen(served: Export, options: OpenOptions, serving: NbdServing): Promise<Place> {
  if (options.listen !== undefined) {
    if (options.socket !== undefined)
      throw new TidemarkError('bad-request', { message: '--socket and --listen are two places', hint: 'give one' })
    const { host, port: wanted } = parseAddress(options.listen, '--listen')
    const listener = await listenTcp({ host, port: wanted }, [served], serving)
    const { port } = listener
    const scheme = serving.tls === undefined ? 'nbd' : 'nbds'
    const uriHost = host.includes(':') ? `[${host}]` : host
    const uri = `${scheme}://${uriHost}:${port}/${encodeURIComponent(served.name)}`
    return { uri, address: { host, port }, [Symbol.asyncDispose]: () => listener[Symbol.asyncDispose]() }
  }
  const own = options.socket === undefined ? mkdtempSync(join(tmpdir(), 'tidemark-open-')) : undefined
  const socket = own === undefined ? resolvePath(options.socket as string) : join(own, 'nbd.sock')
  let listener: NbdListener
  try {
    listener = await listenUnix({ path: socket }, [served], serving)
  } catch (error) {
    if (own !== undefined) rmdirSync(own)
    throw error
  }
  return {
    uri: `nbd+unix:///${encodeURIComponent(served.name)}?socket=${encodeURI(socket)}`,
    socket,
    [Symbol.asyncDispose]: async () => {
      await listener[Symbol.asyncDispose]()
      if (own !== undefined) rmdirSync(own)
    },
  }
}

function tell(place: Place, served: Export, origin: VolumeOrigin, options: OpenOptions, { out }: Parts): void {
  const { uri, socket, address } = place
  const { point, bytes, suspect } = origin
  if (options.json) {
    const told = {
      source: served.name,
      at: point.at,
      moment: isoMoment(point.moment),
      suspect,
      bytes,
      writable: !served.isReadOnly,
    }
    const where = { uri, ...(socket === undefined ? {} : { socket }), ...address }
    return out.write(`${JSON.stringify({ open: { ...told, ...where, ...overlayTold(options) } })}\n`)
  }
  const use = served.isReadOnly ? 'to be read' : 'to be read and written'
  const kept = options.overlay ?? 'a temporary file, gone at the end'
  out.write(
    `${served.name} as of ${formatMoment(point.moment)} (seq:${point.at}), ${formatBytes(bytes)}, is open ${use}
${describeSuspect(served.name, origin)}  ${uri}
${served.isReadOnly ? '' : `  what is written goes to ${kept}\n`}${waysIn(place, served)}It is served until this command is stopped (Ctrl+C).
`,
  )
}

const overlayTold = ({ overlay }: OpenOptions) => (overlay === undefined ? {} : { overlay: resolvePath(overlay) })

/** Commands to paste. */
function waysIn({ uri, socket, address }: Place, { name, isReadOnly }: Export): string {
  const word = shellWord(uri)
  const readOnly = isReadOnly ? ' -r' : ''
  const client =
    address === undefined
      ? `nbd-client -unix ${shellWord(socket as string)} /dev/nbd0 -N ${shellWord(name)}${isReadOnly ? ' -readonly' : ''}`
      : `nbd-client ${address.host} ${address.port} /dev/nbd0 -N ${shellWord(name)}${isReadOnly ? ' -readonly' : ''}`
  const source =
    address === undefined
      ? `<source protocol='nbd' name='${name}'><host transport='unix' socket='${socket}'/></source>`
      : `<source protocol='nbd' name='${name}'><host name='${address.host}' port='${address.port}'/></source>`
  return `Ways in:
  without a kernel module:  nbdfuse${readOnly} DIRECTORY ${word} &  then  losetup --direct-io=on${readOnly} -f --show DIRECTORY/nbd
  kernel module nbd:        ${client}
  a virtual machine:        qemu-system-x86_64 -drive ${shellWord(`file=${uri},format=raw,if=virtio${isReadOnly ? ',readonly=on' : ''}`)}
  libvirt, in <disk type='network'>:  ${source}
  a copy:                   nbdcopy ${word} image.img
`
}
