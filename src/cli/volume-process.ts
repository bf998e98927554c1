import { readFile, rm, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { isSystemError, messageOf, TidemarkError } from '../base/errors.ts'
import { moveIntoOwnGroup } from '../capture/volume/process/control-group.ts'
import { sayInto } from '../capture/volume/process/said.ts'
import { serveVolume, type VolumeServerParts } from '../capture/volume/process/volume-server.ts'
import {
  volumeDescription,
  type VolumeDescription,
  type VolumeFolder,
  volumeFolder,
} from '../capture/volume/volume-folder.ts'
import { lockDirectory } from '../base/lock-directory.ts'
import { software } from '../wire/software.ts'
import type { Parts } from './parts.ts'
import { parseAddress } from './option-values.ts'
import { openVolumeTls } from './volume-tls.ts'

/** Never chosen when the machine runs out of memory: who waits for it would hold more than it does. */
const oomScore = -1000

/**
 * The process of one volume is composed here. It says what it has to say into its folder, as nobody watches it; why it fails is
 * left there for the agent, too.
 */
export async function runVolumeProcess(directory: string, parts: Parts): Promise<void> {
  const folder = volumeFolder(directory)
  const description = await readDescription(folder)
  using _lock = lockDirectory(directory)
  const say = sayInto(folder.said, parts.clock)
  const tell = (line: string): void => {
    say(line)
    parts.err.write(`${line}\n`)
  }
  try {
    for (const file of [folder.failed, folder.released]) await rm(file, { force: true })
    await settleIn(description, parts, tell)
    const listen = await listening(folder, description, parts)
    await serveVolume({ folder, description, listen, software, tell, ...parts }, parts.signal)
    tell('ended, with everything in the backing')
    await writeFile(folder.released, '')
  } catch (error) {
    if (parts.signal.aborted) return tell(`ended: ${messageOf(parts.signal.reason)}`)
    tell(`failed: ${messageOf(error)}`)
    await writeFile(folder.failed, JSON.stringify(noteOf(error)), { mode: 0o600 })
    throw error
  }
}

async function settleIn(
  { id }: VolumeDescription,
  { environment }: Parts,
  tell: (line: string) => void,
): Promise<void> {
  try {
    await writeFile('/proc/self/oom_score_adj', String(oomScore))
  } catch (error) {
    tell(`the system may end this process when memory is short: ${messageOf(error)}`)
  }
  if (environment['TIDEMARK_VOLUME_GROUP'] === 'keep') return
  const why = moveIntoOwnGroup(id)
  if (why !== undefined) tell(`no control group of its own: ${why}`)
}

async function listening(
  folder: VolumeFolder,
  { id, settings: { listen } }: VolumeDescription,
  parts: Parts,
): Promise<VolumeServerParts['listen']> {
  if (listen === undefined) return undefined
  const { host, port } = parseAddress(listen, '--listen')
  return { host, port, tls: await openVolumeTls(join(folder.directory, 'tls'), id, [host, hostname()], parts) }
}

async function readDescription(folder: VolumeFolder): Promise<VolumeDescription> {
  let text: string
  try {
    text = await readFile(folder.description, 'utf8')
  } catch (error) {
    if (!isSystemError(error, 'ENOENT', 'ENOTDIR')) throw error
    throw new TidemarkError('not-found', {
      message: `${folder.directory} is not the folder of a volume`,
      hint: 'the agent makes it and starts its server; "tidemark protect volume" begins',
      cause: error,
    })
  }
  const read = volumeDescription.safeParse(JSON.parse(text))
  if (read.success) return read.data as VolumeDescription
  throw new TidemarkError('damaged', {
    message: `${folder.description} is not what the agent wrote`,
    hint: 'remove it; the agent writes it again when it starts the server',
  })
}

function noteOf(error: unknown): { code: string; message: string; hint?: string } {
  if (!(error instanceof TidemarkError)) return { code: 'interrupted', message: messageOf(error) }
  const { code, message, hint } = error
  return { code, message, ...(hint === undefined ? {} : { hint }) }
}
