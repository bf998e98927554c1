import { join } from 'node:path'
import * as z from 'zod'
import type { Id, SourceDefinition, VolumeSettings } from '../../model/source.ts'

/**
 * The folder of one volume, of this user alone. It belongs to the volume server; the agent makes it, writes `volume.json`, and
 * removes it when the volume is let go.
 *
 *   volume.json   what is served
 *   lock          held by the server that runs
 *   log/          the volume log
 *   control.sock  the agent's capture
 *   nbd.sock      users of the volume on this machine
 *   server.log    what the server has said, and server.log.old
 *   failed.json   why the last server ended, where it failed
 *   released      the last server has ended with everything in the backing: nothing here is needed any more
 */
export interface VolumeFolder {
  readonly directory: string
  readonly description: string
  readonly lock: string
  readonly log: string
  readonly control: string
  readonly nbd: string
  readonly said: string
  readonly failed: string
  readonly released: string
}

export const volumeFolder = (directory: string): VolumeFolder => ({
  directory,
  description: join(directory, 'volume.json'),
  lock: join(directory, 'lock'),
  log: join(directory, 'log'),
  control: join(directory, 'control.sock'),
  nbd: join(directory, 'nbd.sock'),
  said: join(directory, 'server.log'),
  failed: join(directory, 'failed.json'),
  released: join(directory, 'released'),
})

const idCharacters = 16

/** Of a source, in the directory of its agent. Short, since a socket's path is. */
export const volumeFolderOf = (agentDirectory: string, { id }: Pick<SourceDefinition, 'id'>): VolumeFolder =>
  volumeFolder(join(agentDirectory, 'volumes', id.slice(0, idCharacters)))

/** By which a server finds the devices that the kernel of this machine made of the volume of this id. */
export const deviceOwner = (id: Id): string => `tidemark ${id}`

/** What `volume.json` says. */
export interface VolumeDescription {
  readonly version: 1
  readonly id: Id
  /** The name of the export. */
  readonly name: string
  readonly settings: VolumeSettings
  /** Of the agent, whose certificate is shown to users over TLS. */
  readonly agentDirectory: string
}

export const volumeDescription = z.object({
  version: z.literal(1),
  id: z.string().regex(/^[0-9a-f]{32}$/),
  name: z.string().min(1),
  settings: z.object({
    backing: z.string().startsWith('/'),
    bytes: z.int().min(1).optional(),
    logBytesMax: z.int().min(1),
    listen: z.string().optional(),
    zeroLoss: z.object({ degradeMs: z.int().min(1).optional() }).optional(),
  }),
  agentDirectory: z.string().startsWith('/'),
})

/** What `failed.json` says. */
export const failureNote = z.object({ code: z.string(), message: z.string(), hint: z.string().optional() })
