import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { Command } from 'commander'
import * as z from 'zod'
import { TidemarkError } from '../base/errors.ts'
import { deviceOwner, volumeDescription, type VolumeFolder, volumeFolderOf } from '../capture/volume/volume-folder.ts'
import type { Id } from '../model/source.ts'
import { attachDevice, detachDevice, isDeviceUsed, whatDeviceLacks } from '../nbd/kernel-device.ts'
import { apiSocket, connect } from './connect.ts'
import { formatBytes, formatTable } from './format.ts'
import { exitStatus, exitStatusHelp, type Parts } from './parts.ts'
import { describeWays } from './volume-ways.ts'

const defaultDevice = '/dev/nbd0'

const agentAnswer = z.object({
  sources: z.array(
    z.object({
      id: z.string(),
      name: z.string(),
      kind: z.string(),
      line: z.string(),
      capture: z.object({ state: z.string() }).optional(),
    }),
  ),
})

interface ServedVolume {
  readonly id: Id
  readonly name: string
  readonly state: string
  readonly folder: VolumeFolder
  readonly backing: string
  readonly bytes: number | undefined
  readonly listen: string | undefined
  readonly isServed: boolean
}

/** On the protected server. */
export function volumeCommands(program: Command, parts: Parts): void {
  const volume = program.command('volume').description('the volumes that this server protects, and how they are used')

  volume
    .command('list')
    .description('the volumes of this server, and where each is served')
    .option('--json', 'one JSON object a line')
    .addHelpText('after', `\nExample:\n  tidemark volume list\n${exitStatusHelp}`)
    .action(async (options: { json?: boolean }, command: Command) => {
      const volumes = await volumesOf(command, parts)
      const told = volumes.map(({ folder, ...rest }) => ({ ...rest, socket: folder.nbd, directory: folder.directory }))
      if (options.json) for (const one of told) parts.out.write(`${JSON.stringify(one)}\n`)
      else parts.out.write(describeVolumes(volumes))
    })

  volume
    .command('attach')
    .argument('<name>')
    .argument('[device]', 'the network block device to use', defaultDevice)
    .description('make the volume a block device of this machine, or tell the ways to use it')
    .option('--mirror', 'as a leg of a mirror: requests fail when the volume server stays away, instead of waiting')
    .option('--ways', 'only tell the ways')
    .option('--json', 'one JSON object')
    .addHelpText(
      'after',
      `
A kernel with nbd is needed for the device, Linux 5.14 or later. Without it this tells the other ways and exits with 1. When the
volume server has ended, requests wait for the next one, which goes on with the device; "volume detach --force" ends that. With
--mirror they fail after 10 to 25 s, and the mirror goes on with its other leg.

Examples:
  tidemark volume attach erp-disk /dev/nbd0 && mount /dev/nbd0 /srv/erp
  tidemark volume attach erp-disk /dev/nbd1 --mirror
  tidemark volume attach erp-disk --ways
${exitStatusHelp}`,
    )
    .action(async (name: string, device: string, options: AttachOptions, command: Command) => {
      const found = await servedVolume(name, command, parts)
      const ways = describeWays({ name, socket: found.folder.nbd, device, listen: found.listen, tls: tlsOf(found) })
      const tell = (attached: string | undefined): void => {
        const { nbd: socket } = found.folder
        if (options.json) parts.out.write(`${JSON.stringify({ name, socket, attached: attached ?? null, ways })}\n`)
        else parts.out.write(attached === undefined ? ways : `${name} is ${attached}\n`)
      }
      if (options.ways) return tell(undefined)
      const lacking = whatDeviceLacks(device)
      if (lacking !== undefined) {
        tell(undefined)
        if (!options.json) parts.err.write(`tidemark: ${name} was not attached: ${lacking}\n`)
        return parts.exitWith(exitStatus.failed)
      }
      const otherwise = options.mirror === true ? 'fail' : 'wait'
      await attachDevice({ device, path: found.folder.nbd, exportName: name, owner: deviceOwner(found.id), otherwise })
      tell(device)
    })

  volume
    .command('detach')
    .argument('<name>')
    .argument('[device]', 'the network block device it is', defaultDevice)
    .description('end the use of the volume as a block device of this machine')
    .option('--force', 'even where it is mounted or in a mirror: what waits for the volume fails')
    .option('--json', 'one JSON object')
    .addHelpText(
      'after',
      `\nExample:\n  umount /srv/erp && tidemark volume detach erp-disk /dev/nbd0\n${exitStatusHelp}`,
    )
    .action((name: string, device: string, options: { force?: boolean; json?: boolean }) => {
      const lacking = whatDeviceLacks(device)
      if (lacking !== undefined)
        throw new TidemarkError('unusable-platform', { message: `${name} is not ${device}: ${lacking}` })
      if (options.force !== true && isDeviceUsed(device)) throw stillUsed(device)
      detachDevice(device)
      parts.out.write(options.json ? `${JSON.stringify({ name, detached: device })}\n` : `${device} is free\n`)
    })

  volume
    .command('run')
    .argument('<directory>', 'that the agent has made')
    .description('serve one volume until it is no longer protected; the agent runs this by itself')
    .addHelpText(
      'after',
      `
The server goes on without the agent, and goes on where it was when it is started again.

Example:
  tidemark volume run /var/lib/tidemark/agent/volumes/0123456789abcdef
${exitStatusHelp}`,
    )
    .action(async (directory: string) => {
      const { runVolumeProcess } = await import('./volume-process.ts')
      await runVolumeProcess(resolve(directory), parts)
    })
}

interface AttachOptions {
  readonly mirror?: boolean
  readonly ways?: boolean
  readonly json?: boolean
}

async function volumesOf(command: Command, parts: Parts): Promise<ServedVolume[]> {
  const { sources } = await connect(command, parts)
    .json('GET', '/agent', agentAnswer)
    .catch((error: unknown) => {
      throw error instanceof TidemarkError && error.code === 'not-found' ? atAgent(error) : error
    })
  const directory = resolve(apiSocket(command, parts), '..')
  return await Promise.all(
    sources
      .filter(({ kind }) => kind === 'volume')
      .map(({ id, name, capture }) => read(directory, id as Id, name, capture?.state)),
  )
}

const atAgent = (cause: TidemarkError): TidemarkError =>
  new TidemarkError('bad-request', {
    message: 'volumes are used on the server that they are of',
    hint: "give the command there, or name its agent's directory with --agent",
    cause,
  })

async function read(directory: string, id: Id, name: string, state = 'starting'): Promise<ServedVolume> {
  const folder = volumeFolderOf(directory, { id })
  const isServed = existsSync(folder.nbd)
  const text = existsSync(folder.description) ? await readFile(folder.description, 'utf8') : undefined
  const settings = text === undefined ? undefined : volumeDescription.parse(JSON.parse(text)).settings
  const { backing = '', bytes, listen } = settings ?? {}
  return { id, name, state, folder, backing, bytes, listen, isServed }
}

async function servedVolume(name: string, command: Command, parts: Parts): Promise<ServedVolume> {
  const volumes = await volumesOf(command, parts)
  const found = volumes.find((volume) => volume.name === name)
  if (found === undefined) {
    throw new TidemarkError('not-found', {
      message: `this server has no protected volume "${name}"`,
      hint: 'see "tidemark volume list"',
    })
  }
  if (found.isServed) return found
  throw new TidemarkError('not-running', {
    message: `the server of volume ${name} does not run yet`,
    hint: `see "tidemark status ${name}" and ${found.folder.said}`,
  })
}

const tlsOf = ({ listen, folder }: ServedVolume): string | undefined =>
  listen === undefined ? undefined : join(folder.directory, 'tls/client')

function describeVolumes(volumes: readonly ServedVolume[]): string {
  if (volumes.length === 0) return 'no volume of this server is protected; "tidemark protect volume" begins\n'
  return formatTable(
    ['VOLUME', 'STATE', 'SIZE', 'BACKING', 'SERVED AT'],
    volumes.map(({ name, state, bytes, backing, folder, listen, isServed }) => [
      name,
      state,
      bytes === undefined ? '' : formatBytes(bytes),
      backing,
      [isServed ? folder.nbd : 'not running', listen].filter((word) => word !== undefined).join(' '),
    ]),
    [2],
  )
}

const stillUsed = (device: string): TidemarkError =>
  new TidemarkError('in-use', {
    message: `${device} is mounted, or part of a mirror or another device`,
    hint: 'unmount it, or take it out of there, first; --force takes the disk away all the same, and what is written to it fails',
  })
