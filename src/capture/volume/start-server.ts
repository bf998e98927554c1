import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import type { Clock } from '../../base/clock.ts'
import { type ErrorCode, errorCodes, isSystemError, TidemarkError } from '../../base/errors.ts'
import type { SourceDefinition } from '../../model/source.ts'
import { failureNote, type VolumeDescription, type VolumeFolder, volumeFolderOf } from './volume-folder.ts'

/** How a volume server comes to run on this machine. */
export interface ServerHome {
  readonly agentDirectory: string
  /** The program with what comes before "volume run DIRECTORY". */
  readonly command: readonly string[]
}

const lookMs = 50

/** What the server of this source serves, put where it finds it. */
export async function describeVolume(home: ServerHome, source: SourceDefinition): Promise<VolumeFolder> {
  const { id, name, volume: settings } = source
  if (settings === undefined) throw new TidemarkError('bad-request', { message: 'a source without its settings' })
  const folder = volumeFolderOf(home.agentDirectory, source)
  const description: VolumeDescription = { version: 1, id, name, settings, agentDirectory: home.agentDirectory }
  await mkdir(folder.directory, { recursive: true, mode: 0o700 })
  await writeFile(`${folder.description}.new`, JSON.stringify(description, undefined, 2), { mode: 0o600 })
  await rename(`${folder.description}.new`, folder.description)
  return folder
}

/**
 * What `connect` gives, once the server runs: where it does not it is started, detached, so that it outlives this process.
 * Before it answers it may have to bring the volume up to its log, which takes its time. Throws what it has died of.
 */
export async function withServer<T>(
  { command }: ServerHome,
  folder: VolumeFolder,
  clock: Clock,
  signal: AbortSignal,
  connect: () => Promise<T>,
): Promise<T> {
  const running = await whereThere(connect)
  if (running !== undefined) return running
  await rm(folder.failed, { force: true })
  const [program = '', ...before] = command
  const child = spawn(program, [...before, 'volume', 'run', folder.directory], { detached: true, stdio: 'ignore' })
  await once(child, 'spawn')
  child.unref()
  for (;;) {
    const found = await whereThere(connect)
    if (found !== undefined) return found
    if (hasEnded(child)) throw await failureOf(folder)
    await clock.sleep(lookMs, signal)
  }
}

async function whereThere<T>(connect: () => Promise<T>): Promise<T | undefined> {
  try {
    return await connect()
  } catch (error) {
    if (isSystemError(error, 'ENOENT', 'ECONNREFUSED')) return undefined
    throw error
  }
}

const hasEnded = ({ exitCode, signalCode }: ChildProcess): boolean => exitCode !== null || signalCode !== null

async function failureOf(folder: VolumeFolder): Promise<TidemarkError> {
  const note = await noteIn(folder.failed)
  if (note === undefined) {
    return new TidemarkError('not-running', {
      message: 'the volume server ended as soon as it was started',
      hint: `see ${folder.said}; it is started again`,
    })
  }
  const { code, message, hint } = note
  const known = code in errorCodes ? (code as ErrorCode) : 'interrupted'
  return new TidemarkError(known, { message, ...(hint === undefined ? {} : { hint }) })
}

async function noteIn(file: string): Promise<ReturnType<typeof failureNote.parse> | undefined> {
  try {
    return failureNote.parse(JSON.parse(await readFile(file, 'utf8')))
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return undefined
    throw error
  }
}
