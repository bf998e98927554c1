#!/usr/bin/env node
import { Command, CommanderError } from 'commander'
import { systemClock } from './base/clock.ts'
import { systemRandom } from './base/random.ts'
import { agentCommands } from './cli/agent.ts'
import { catCommand, diffCommand, historyCommand, lsCommand, statCommand } from './cli/browse.ts'
import { tellFailure } from './cli/failure.ts'
import { type ExitStatus, exitStatus, exitStatusHelp, type Parts, type Terminal } from './cli/parts.ts'
import { markCommand, pointsCommand } from './cli/points.ts'
import { agentsCommand, controlCommands, protectCommand } from './cli/protect.ts'
import { restoreCommand } from './cli/restore.ts'
import { statusCommand } from './cli/status.ts'
import { vaultCommands } from './cli/vault.ts'
import { verifyCommand } from './cli/verify.ts'
import { softwareVersion } from './wire/software.ts'

/** The only composition root: argv and environment become parts, parts a command, its end an exit status. */

const interrupted = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => interrupted.abort(new DOMException(`stopped by ${signal}`, 'AbortError')))
}

// A pipe that was closed at the other end ("| head") is the end of the output, not a failure.
process.stdout.on('error', (error) => {
  if ('code' in error && error.code === 'EPIPE') process.exit(exitStatus.done)
  throw error
})

const terminal = (stream: NodeJS.WriteStream): Terminal => ({
  write: (text) => void stream.write(text),
  isTerminal: stream.isTTY,
  drained: () => (stream.writableNeedDrain ? new Promise((done) => stream.once('drain', done)) : Promise.resolve()),
})

let status: ExitStatus = exitStatus.done
const parts: Parts = {
  clock: systemClock,
  random: systemRandom,
  out: terminal(process.stdout),
  err: terminal(process.stderr),
  environment: process.env,
  isRoot: process.getuid?.() === 0,
  signal: interrupted.signal,
  exitWith: (wanted) => {
    status = wanted
  },
}

const program = new Command('tidemark')
  .description('continuous data protection: any moment of the past, in another town')
  .version(softwareVersion)
  .option('--vault <directory>', 'speak to the vault of this directory')
  .option('--agent <directory>', 'speak to the agent of this directory')
  .showHelpAfterError('(--help tells more)')
  .exitOverride()
  .addHelpText(
    'after',
    `
Environment: TIDEMARK_HOME holds the directories "vault" and "agent" (default /var/lib/tidemark for root);
             TIDEMARK_SOCKET names the socket to speak to; TIDEMARK_TOKEN the token of "agent join".
${exitStatusHelp}`,
  )

vaultCommands(program, parts)
agentCommands(program, parts)
protectCommand(program, parts)
controlCommands(program, parts)
agentsCommand(program, parts)
statusCommand(program, parts)
pointsCommand(program, parts)
markCommand(program, parts)
lsCommand(program, parts)
catCommand(program, parts)
statCommand(program, parts)
historyCommand(program, parts)
diffCommand(program, parts)
restoreCommand(program, parts)
verifyCommand(program, parts)

try {
  await program.parseAsync()
} catch (error) {
  if (error instanceof CommanderError) status = error.exitCode === 0 ? exitStatus.done : exitStatus.usage
  else if (interrupted.signal.aborted && error === interrupted.signal.reason) status = exitStatus.interrupted
  else status = tellFailure(error, process.argv.includes('--json'), parts)
}
process.exitCode = status
await parts.out.drained()
process.exit()
