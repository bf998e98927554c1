import { resolve } from 'node:path'
import { type AgentParts, runAgent } from '../agent/agent.ts'
import { commandStarter } from '../agent/tasks/command-process.ts'
import { openFilesCapture } from '../capture/files/files-capture.ts'
import { whilePausedPostgres } from '../capture/postgres/paused.ts'
import { openPostgresCapture } from '../capture/postgres/postgres-capture.ts'
import { releasePostgres, releaseTriedMsMax } from '../capture/postgres/release.ts'
import { whilePausedVolume } from '../capture/volume/paused.ts'
import { releaseVolume } from '../capture/volume/release.ts'
import type { ServerHome } from '../capture/volume/start-server.ts'
import { openVolumeCapture } from '../capture/volume/volume-capture.ts'
import { account } from './account.ts'
import type { Parts } from './parts.ts'

/** The agent's process is composed here: each kind of source with the capture that knows it. */
export const runAgentProcess = (
  directory: string,
  { clock, random, signal, tell, tellBatch, metrics }: Parts & Pick<AgentParts, 'tell' | 'tellBatch' | 'metrics'>,
): Promise<void> =>
  runAgent(
    {
      directory,
      captures: {
        files: (request) => openFilesCapture(request, { never: [directory] }),
        postgres: (request) => openPostgresCapture(request, account()),
        volume: (request) => openVolumeCapture(request, serverHome(directory)),
      },
      releases: {
        postgres: {
          letGo: (source, ending) => releasePostgres(source, { account: account(), clock, random }, ending),
          triedMsMax: releaseTriedMsMax,
        },
        // It waits for whoever uses the volume.
        volume: { letGo: (source, ending) => releaseVolume(source, { home: serverHome(directory), clock }, ending) },
      },
      paused: {
        postgres: (source, report, ending) =>
          whilePausedPostgres(source, { account: account(), clock, random, report }, ending),
        volume: (source, report, ending) =>
          whilePausedVolume(source, { home: serverHome(directory), clock, report }, ending),
      },
      startCommand: commandStarter(thisProgram(), process.env, clock),
      clock,
      random,
      tell,
      tellBatch,
      metrics,
    },
    signal,
  )

/** Volume servers are run by this very program. */
const serverHome = (agentDirectory: string): ServerHome => ({
  agentDirectory: resolve(agentDirectory),
  command: thisProgram(),
})

const thisProgram = (): string[] => [process.execPath, ...process.execArgv, resolve(process.argv[1] ?? '')]
