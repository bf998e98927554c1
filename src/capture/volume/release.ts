import { rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Clock } from '../../base/clock.ts'
import { TidemarkError } from '../../base/errors.ts'
import { pathExists } from '../../base/path-exists.ts'
import { syncFolder } from '../../base/sync-folder.ts'
import type { SourceDefinition } from '../../model/source.ts'
import { openControl } from './connect.ts'
import type { FromVolumeServer } from './control.ts'
import { type ServerHome, withServer } from './start-server.ts'
import { type VolumeFolder, volumeFolderOf } from './volume-folder.ts'

/** How long a server that nobody uses may take to bring its log into the backing. */
const endMsMax = 30_000
const lookMs = 50

/**
 * Lets the volume go: everything in the log is brought into the backing, and the server ends once nobody uses the volume. Until
 * then this fails, to be tried again; nobody loses a disk that is in use.
 */
export async function releaseVolume(
  source: SourceDefinition,
  { home, clock }: { readonly home: ServerHome; readonly clock: Clock },
  signal: AbortSignal,
): Promise<void> {
  const folder = volumeFolderOf(home.agentDirectory, source)
  // A server takes its predecessor's word away when it begins.
  if ((await pathExists(folder.released)) || !(await pathExists(folder.description))) return await removeFolder(folder)
  // Also where it does not run: what stands in its log only has to come into the backing.
  const control = await withServer(home, folder, clock, signal, () => openControl(folder, signal))
  const limit = new AbortController()
  try {
    control.tell({ kind: 'release' })
    const hasEnded = ended(control.messages)
    const over = clock.sleep(endMsMax, AbortSignal.any([signal, limit.signal])).then(
      () => 'late' as const,
      () => 'late' as const,
    )
    const outcome = await Promise.race([hasEnded, over])
    signal.throwIfAborted()
    if (outcome !== 'ended') throw stillUsed(source, outcome)
    // A connection ends before the last of the log is in the backing, and also with a server that is killed.
    if (!(await isEmptied(folder, clock, signal))) throw stillUsed(source, 'late')
  } finally {
    limit.abort()
    control.end()
  }
  await removeFolder(folder)
}

/**
 * Under its name all of it goes at once: from a log that had been removed in part, over an end of the agent, another server would bring old
 * writes over newer ones.
 */
async function removeFolder({ directory }: VolumeFolder): Promise<void> {
  const gone = `${directory}.gone`
  await rm(gone, { recursive: true, force: true })
  if (await pathExists(directory)) {
    await rename(directory, gone)
    syncFolder(dirname(directory))
  }
  await rm(gone, { recursive: true, force: true })
}

/** The server says so in its folder: until then what its log holds may be nowhere else. */
async function isEmptied({ released }: VolumeFolder, clock: Clock, signal: AbortSignal): Promise<boolean> {
  const endsAt = clock.monotonicMs() + endMsMax
  while (!(await pathExists(released))) {
    if (clock.monotonicMs() > endsAt) return false
    await clock.sleep(lookMs, signal)
  }
  return true
}

/** With how many clients the server says that it goes on. */
async function ended(messages: AsyncIterable<FromVolumeServer>): Promise<'ended' | number> {
  for await (const message of messages) if (message.kind === 'state' && message.clients > 0) return message.clients
  return 'ended'
}

const stillUsed = ({ name }: SourceDefinition, outcome: 'late' | number): TidemarkError =>
  new TidemarkError('already-running', {
    message:
      outcome === 'late'
        ? `the server of volume ${name} has not ended yet`
        : `${outcome === 1 ? 'a client still uses' : `${outcome} clients still use`} volume ${name}`,
    hint: 'unmount it and let its users go back to the backing ("tidemark volume detach"); the server ends by itself then',
  })
