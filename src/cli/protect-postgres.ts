import { homedir, userInfo } from 'node:os'
import { isAbsolute } from 'node:path'
import type { Command } from 'commander'
import { sourceStatus, type SourceRequest } from '../api/schemas.ts'
import { messageOf, TidemarkError } from '../base/errors.ts'
import { checkServer, type Finding } from '../capture/postgres/preconditions.ts'
import { describeTarget, type PostgresTarget } from '../capture/postgres/protocol/target.ts'
import { parsePostgresUrls } from '../capture/postgres/protocol/url.ts'
import { defaultPostgres } from '../model/source.ts'
import { connect } from './connect.ts'
import { byteCount, byteRate, duration, zeroLoss as zeroLossOf } from './option-values.ts'
import { exitStatusHelp, type Parts } from './parts.ts'

interface ProtectPostgresOptions {
  name: string
  system?: string
  zeroLoss?: string | true
  baselineEvery?: string
  baselineRate?: string
  walKeep?: string
  window?: string
  lag?: string
  on?: string
  force?: boolean
  json?: boolean
}

export function protectPostgresCommand(protect: Command, parts: Parts): void {
  protect
    .command('postgres')
    .argument('<url>', 'postgres://user@host:port/database, without a password')
    .description('every transaction of a PostgreSQL cluster')
    .requiredOption('--name <name>', 'what to call this source')
    .option('--system <name>', 'the business system it belongs to')
    .option(
      '--zero-loss [policy]',
      'a commit waits for the vault: "block", for ever, or "degrade:30s", at most so long',
    )
    .option('--baseline-every <duration>', 'time between full copies', '1d')
    .option('--baseline-rate <rate>', 'most bytes a second of a full copy (50MiB/s); default no limit')
    .option('--wal-keep <bytes>', 'log the server keeps while the vault is away; beyond it a hole is recorded', '10GiB')
    .option('--window <duration>', 'how far back every change is kept (30m, 12h, 7d)', '7d')
    .option('--lag <duration>', 'lag above which it counts as late', '1m')
    .option('--on <agent>', 'the server to protect, when given at the vault; then nothing is checked before')
    .option('--force', 'protect it whatever the check has found')
    .option('--json', 'one JSON object')
    .addHelpText(
      'after',
      `
The server is looked at first, as the user who gives this command; the agent then does the same as its own user. Passwords
are in ~/.pgpass or in the file that passfile= of the URL names, or there are none: peer, cert. A role with REPLICATION is enough;
--zero-loss also needs the right to set synchronous_standby_names. Several hosts are the members of one cluster.

Examples:
  tidemark protect postgres 'postgres://tidemark@/postgres' --name orders
  tidemark protect postgres 'postgres://tidemark@db1,db2/postgres?sslmode=verify-full&sslrootcert=/etc/ssl/db.pem' \\
      --name orders --zero-loss=degrade:30s --baseline-rate 50MiB/s
${exitStatusHelp}`,
    )
    .action(async (url: string, options: ProtectPostgresOptions, command: Command) => {
      const request = requestOf(url, options)
      const targets = targetsOf(url)
      if (options.on === undefined) await check(targets, request, options.force === true, parts)
      const source = await connect(command, parts).json('POST', '/v1/sources', sourceStatus, request)
      parts.out.write(
        options.json
          ? `${JSON.stringify(source)}\n`
          : `${source.name} is protected by ${source.agent.name}; "tidemark status --watch" shows the baseline\n`,
      )
    })
}

type PostgresRequest = SourceRequest & { readonly postgres: NonNullable<SourceRequest['postgres']> }

function requestOf(url: string, options: ProtectPostgresOptions): PostgresRequest {
  const zeroLoss = options.zeroLoss === undefined ? undefined : zeroLossOf(options.zeroLoss)
  return {
    name: options.name,
    kind: 'postgres',
    ...(options.on === undefined ? {} : { agent: options.on }),
    ...(options.system === undefined ? {} : { system: options.system }),
    postgres: {
      url,
      baselineMs: duration('--baseline-every', options.baselineEvery),
      baselineBytesPerSecond: byteRate('--baseline-rate', options.baselineRate),
      walKeptBytesMax: byteCount('--wal-keep', options.walKeep),
      ...(zeroLoss === undefined ? {} : { zeroLoss }),
    },
    policy: { windowMs: duration('--window', options.window), lagMsMax: duration('--lag', options.lag) },
  }
}

/** A URL that the agent, another process in another folder, understands as well, and that tells nobody a password. */
function targetsOf(url: string): PostgresTarget[] {
  const targets = parsePostgresUrls(url, userInfo().username)
  const { password, passwordFile, tls } = targets[0] as PostgresTarget
  if (password !== undefined) {
    throw new TidemarkError('bad-request', {
      message: 'the URL holds a password, which would come to the vault and into lists of processes',
      hint: 'put it into ~/.pgpass of the agent\'s user, or into a file named by "passfile=" in the URL; or use peer authentication over the socket',
    })
  }
  for (const file of [passwordFile, tls.rootCertificates, tls.certificate, tls.key]) {
    if (file === undefined || isAbsolute(file) || file === 'system') continue
    throw new TidemarkError('bad-request', {
      message: `the URL names the file ${file}, which the agent would look for elsewhere`,
      hint: 'give its absolute path',
    })
  }
  return targets
}

/** Prints what is found of each member. What stands in the way is thrown, unless it is forced. */
async function check(
  targets: readonly PostgresTarget[],
  request: PostgresRequest,
  isForced: boolean,
  parts: Parts,
): Promise<void> {
  let refused = 0
  for (const target of targets) {
    const findings = await findingsOf(target, request, isForced, parts)
    for (const finding of findings) parts.err.write(describe(finding, target))
    refused += findings.filter(({ severity }) => severity === 'refused').length
  }
  if (refused === 0 || isForced) return
  throw new TidemarkError('database-precondition', {
    message: `${refused === 1 ? 'one thing stands' : `${refused} things stand`} in the way of protecting ${request.name}`,
    hint: 'change what is told above, and give the command again; --force protects it all the same, as far as that goes',
  })
}

async function findingsOf(
  target: PostgresTarget,
  { postgres: { walKeptBytesMax = defaultPostgres.walKeptBytesMax, zeroLoss } }: PostgresRequest,
  isForced: boolean,
  { environment, clock, random, signal }: Parts,
): Promise<readonly Finding[]> {
  const { PGPASSWORD, PGPASSFILE } = environment
  const account = { user: userInfo().username, homeFolder: homedir(), environment: { PGPASSWORD, PGPASSFILE } }
  const settings = { walKeptBytesMax, zeroLoss }
  try {
    const checked = await checkServer({ target, settings, account, applicationName: 'tidemark', clock, random }, signal)
    return checked.findings
  } catch (error) {
    if (!isForced || !(error instanceof TidemarkError)) throw error
    const hint = error.hint ?? 'the agent tries it again and again'
    return [{ code: 'connection-refused', severity: 'refused', message: messageOf(error), hint }]
  }
}

const describe = ({ severity, code, message, hint }: Finding, target: PostgresTarget): string =>
  `${severity} ${code} (${describeTarget(target)}): ${message}\n  ${hint}\n`
