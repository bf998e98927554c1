import { Command } from 'commander'
import { softwareVersion } from '../wire/software.ts'
import { agentCommands } from './agent.ts'
import { agentsCommand } from './agents.ts'
import { consoleCommands } from './console.ts'
import { archiveCommand } from './archive.ts'
import { catCommand, diffCommand, historyCommand, lsCommand, statCommand } from './browse.ts'
import { findCommand } from './find.ts'
import { openCommand } from './open.ts'
import { exitStatusHelp, type Parts } from './parts.ts'
import { lagCommand } from './lag.ts'
import { markCommand, pointsCommand } from './points.ts'
import { controlCommands, protectCommand } from './protect.ts'
import { restoreCommand } from './restore.ts'
import { standbyCommand } from './standby.ts'
import { statusCommand } from './status.ts'
import { vaultCommands } from './vault.ts'
import { tasksCommand } from './tasks.ts'
import { transactionsCommand } from './transactions.ts'
import { verifyCommand } from './verify.ts'
import { volumeCommands } from './volume.ts'
import { walCommand } from './wal.ts'
import { windowCommand } from './window.ts'

/** The whole command line. Parsing it runs a command; wrong usage throws a CommanderError. */
export function makeProgram(parts: Parts): Command {
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
Environment: TIDEMARK_HOME holds the directories "vault", "agent" and "console" (default /var/lib/tidemark for root);
             TIDEMARK_SOCKET names the socket to speak to; TIDEMARK_TOKEN the token of "agent join".
${exitStatusHelp}`,
    )
  vaultCommands(program, parts)
  agentCommands(program, parts)
  consoleCommands(program, parts)
  protectCommand(program, parts)
  controlCommands(program, parts)
  agentsCommand(program, parts)
  statusCommand(program, parts)
  lagCommand(program, parts)
  windowCommand(program, parts)
  pointsCommand(program, parts)
  markCommand(program, parts)
  lsCommand(program, parts)
  catCommand(program, parts)
  statCommand(program, parts)
  historyCommand(program, parts)
  diffCommand(program, parts)
  findCommand(program, parts)
  archiveCommand(program, parts)
  restoreCommand(program, parts)
  openCommand(program, parts)
  standbyCommand(program, parts)
  verifyCommand(program, parts)
  tasksCommand(program, parts)
  transactionsCommand(program, parts)
  walCommand(program, parts)
  volumeCommands(program, parts)
  return program
}
