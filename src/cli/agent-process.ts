import { homedir, userInfo } from 'node:os'
import { runAgent } from '../agent/agent.ts'
import { openFilesCapture } from '../capture/files/files-capture.ts'
import { openPostgresCapture } from '../capture/postgres/postgres-capture.ts'
import { releasePostgres } from '../capture/postgres/release.ts'
import type { Account } from '../capture/postgres/server.ts'
import type { Parts } from './parts.ts'

/** The agent's process is composed here: each kind of source with the capture that knows it. */
export const runAgentProcess = (
  directory: string,
  { clock, random, signal, tell }: Parts & { tell: (line: string) => void },
): Promise<void> =>
  runAgent(
    {
      directory,
      captures: {
        files: (request) => openFilesCapture(request, { never: [directory] }),
        postgres: (request) => openPostgresCapture(request, account()),
      },
      releases: {
        postgres: (source, ending) => releasePostgres(source, { account: account(), clock, random }, ending),
      },
      clock,
      random,
      tell,
    },
    signal,
  )

/** As whom this process speaks to database servers. */
function account(): Account {
  const { PGPASSWORD, PGPASSFILE } = process.env
  return { user: userInfo().username, homeFolder: homedir(), environment: { PGPASSWORD, PGPASSFILE } }
}
