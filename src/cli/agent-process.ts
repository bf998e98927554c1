import { runAgent } from '../agent/agent.ts'
import { openFilesCapture } from '../capture/files/files-capture.ts'
import type { Parts } from './parts.ts'

/** The agent's process is composed here: each kind of source with the capture that knows it. */
export const runAgentProcess = (
  directory: string,
  { clock, random, signal, tell }: Parts & { tell: (line: string) => void },
): Promise<void> =>
  runAgent(
    {
      directory,
      captures: { files: (request) => openFilesCapture(request, { never: [directory] }) },
      clock,
      random,
      tell,
    },
    signal,
  )
