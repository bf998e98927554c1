import type { Command } from 'commander'
import { sourceStatus, type SourceRequest } from '../api/schemas.ts'
import { checkBacking } from './backing.ts'
import { connect } from './connect.ts'
import { byteCount, duration, parseAddress, zeroLoss } from './option-values.ts'
import { exitStatusHelp, type Parts } from './parts.ts'

interface ProtectVolumeOptions {
  name: string
  system?: string
  size?: string
  logMax: string
  listen?: string
  zeroLoss?: string | true
  window?: string
  reconcile?: string
  lag?: string
  on?: string
  json?: boolean
}

export function protectVolumeCommand(protect: Command, parts: Parts): void {
  protect
    .command('volume')
    .argument('<backing>', 'block device or file that holds, or will hold, the bytes')
    .description('every write of a volume: any file system, any database on it')
    .requiredOption('--name <name>', 'what to call this source')
    .option('--system <name>', 'the business system it belongs to')
    .option('--size <bytes>', 'of the volume; a file is made or grown to it; default what the backing has')
    .option('--log-max <bytes>', 'writes kept here while the vault is away; beyond it a hole is recorded', '10GiB')
    .option('--listen <host:port>', 'serve it to other machines too, over TLS')
    .option('--zero-loss [policy]', 'a flush waits for the vault: "block", for ever, or "degrade:30s", at most so long')
    .option('--window <duration>', 'how far back every change is kept (30m, 12h, 7d)', '7d')
    .option('--reconcile <duration>', 'time between full comparisons with the volume, which read all of it', '7d')
    .option('--lag <duration>', 'lag above which it counts as late', '1m')
    .option('--on <agent>', 'the server to protect, when given at the vault; then nothing is checked before')
    .option('--json', 'one JSON object')
    .addHelpText(
      'after',
      `
The volume is served from then on, and has to be used through that: "tidemark volume attach NAME" tells how. What is on the
device or in the file stays as it is, and is copied to the vault while it is in use; nobody else may write there any more.

Examples:
  tidemark protect volume /dev/sdb1 --name erp-disk --system erp
  tidemark protect volume /srv/disks/mail.img --size 200G --name mail --zero-loss=degrade:30s
${exitStatusHelp}`,
    )
    .action(async (backing: string, options: ProtectVolumeOptions, command: Command) => {
      const request = requestOf(backing, options)
      const source = await connect(command, parts).json('POST', '/v1/sources', sourceStatus, request)
      parts.out.write(
        options.json
          ? `${JSON.stringify(source)}\n`
          : `${source.name} is protected by ${source.agent.name}\n  next: "tidemark volume attach ${source.name}" to use it\n`,
      )
    })
}

function requestOf(given: string, options: ProtectVolumeOptions): SourceRequest {
  const { name, system, on, listen } = options
  const wanted = byteCount('--size', options.size)
  const { path, bytes } = on === undefined ? checkBacking(given, wanted) : { path: given, bytes: wanted }
  if (listen !== undefined) parseAddress(listen, '--listen')
  return {
    name,
    kind: 'volume',
    ...(on === undefined ? {} : { agent: on }),
    ...(system === undefined ? {} : { system }),
    volume: {
      backing: path,
      ...(bytes === undefined ? {} : { bytes }),
      logBytesMax: byteCount('--log-max', options.logMax),
      ...(listen === undefined ? {} : { listen }),
      ...(options.zeroLoss === undefined ? {} : { zeroLoss: zeroLoss(options.zeroLoss) }),
    },
    policy: {
      windowMs: duration('--window', options.window),
      reconcileMs: duration('--reconcile', options.reconcile),
      lagMsMax: duration('--lag', options.lag),
    },
  }
}
