import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { lacking } from '../run/programs.ts'
import { until } from './until.ts'

/** No program here works for so long. One that does hangs in the kernel, which nothing ends but an end of the connection. */
const programMsMax = 120_000
const connections = '/sys/fs/fuse/connections'

/** For the `skip` of a test that has a real file system on a volume. */
export const lackingVolumeDevice = (): string | false =>
  (process.geteuid?.() !== 0 && 'mounting needs root') ||
  lacking('nbdfuse', 'losetup', 'mount', 'e2fsck', 'mkfs.ext4') ||
  (!existsSync('/dev/fuse') && 'needs /dev/fuse') ||
  (!existsSync('/dev/loop-control') && 'needs loop devices')

/**
 * An NBD export as a block device, without the kernel's client: nbdfuse makes a file of it, and a loop device, with its own
 * cache left out, a disk of that. Its server must be another process: whoever looks at a file on this disk sleeps until the
 * server has answered.
 */
export class VolumeDevice implements AsyncDisposable {
  /** Such as /dev/loop3. */
  readonly device: string
  readonly #bridge: Bridge

  private constructor(device: string, bridge: Bridge) {
    this.device = device
    this.#bridge = bridge
  }

  /** `folder` is made, and removed when it is over. */
  static async attach(folder: string, socket: string, exportName: string): Promise<VolumeDevice> {
    const bridge = await Bridge.open(folder, socket, exportName)
    try {
      const device = await bridge.run('losetup', '--direct-io=on', '-f', '--show', bridge.file)
      return new VolumeDevice(device.trim(), bridge)
    } catch (error) {
      await bridge.close()
      throw error
    }
  }

  /** What it prints; one that hangs is released by ending the connection to the volume, and fails. */
  run(program: string, ...args: readonly string[]): Promise<string> {
    return this.#bridge.run(program, ...args)
  }

  /** The file system on it, where every user may come, until that is disposed. */
  async mount(...options: readonly string[]): Promise<MountedVolume> {
    const folder = mkdtempSync(join(tmpdir(), 'tidemark-mounted-'))
    chmodSync(folder, 0o755)
    await this.run('mount', ...options, this.device, folder).catch((error: unknown) => {
      rmdirSync(folder)
      throw error
    })
    const unmount = async (): Promise<void> => {
      try {
        await this.run('umount', folder)
      } catch (error) {
        await ended('umount', ['-l', folder])
        throw error
      } finally {
        rmdirSync(folder)
      }
    }
    return { folder, [Symbol.asyncDispose]: unmount }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.run('losetup', '-d', this.device)
    } finally {
      await this.#bridge.close()
    }
  }
}

export interface MountedVolume extends AsyncDisposable {
  readonly folder: string
}

/** nbdfuse: a folder with the file `nbd` in it. */
class Bridge {
  readonly folder: string
  readonly #process: ChildProcess
  readonly #ended: Promise<unknown>
  #connection = ''

  private constructor(folder: string, process: ChildProcess) {
    this.folder = folder
    this.#process = process
    this.#ended = once(process, 'exit')
  }

  static async open(folder: string, socket: string, exportName: string): Promise<Bridge> {
    mkdirSync(join(folder, 'fuse'), { recursive: true })
    const ready = join(folder, 'ready')
    const uri = `nbd+unix:///${exportName}?socket=${socket}`
    const args = ['-P', ready, join(folder, 'fuse', 'nbd'), uri]
    const bridge = new Bridge(folder, spawn('nbdfuse', args, { stdio: ['ignore', 'ignore', 'inherit'] }))
    await until('nbdfuse is ready', () => existsSync(ready) || bridge.#process.exitCode !== null)
    if (bridge.#process.exitCode !== null) throw new Error(`nbdfuse did not connect to ${uri}`)
    bridge.#connection = connectionOf(join(folder, 'fuse'))
    return bridge
  }

  get file(): string {
    return join(this.folder, 'fuse', 'nbd')
  }

  async run(program: string, ...args: readonly string[]): Promise<string> {
    let hangs = false
    const late = setTimeout(() => {
      hangs = true
      void this.#abort()
    }, programMsMax)
    try {
      const { status, output } = await ended(program, args)
      if (status === 0 && !hangs) return output
      const how = hangs ? 'hung, and the volume was taken away from it' : `ended with ${status}`
      throw new Error(`${program} ${args.join(' ')} ${how}: ${output}`)
    } finally {
      clearTimeout(late)
    }
  }

  /** Also where the file system below the loop device is still in use: then nobody has a disk there any more. */
  async close(): Promise<void> {
    try {
      await this.run('umount', join(this.folder, 'fuse'))
    } catch (error) {
      await this.#abort()
      await ended('umount', ['-l', join(this.folder, 'fuse')])
      throw error
    } finally {
      this.#process.kill('SIGKILL')
      await this.#ended
      rmSync(this.folder, { recursive: true })
    }
  }

  /** Whatever waits for the volume gets an error. */
  async #abort(): Promise<void> {
    if (!existsSync(join(connections, this.#connection))) await ended('mount', ['-t', 'fusectl', 'none', connections])
    if (existsSync(join(connections, this.#connection)))
      writeFileSync(join(connections, this.#connection, 'abort'), '1')
  }
}

/** The kernel names a FUSE connection by the minor number of its mount. */
function connectionOf(folder: string): string {
  const [, , device] = mounts().find(([, , , , at]) => at === folder) ?? []
  const [, minor] = device?.split(':') ?? []
  if (minor === undefined) throw new Error(`nothing is mounted at ${folder}`)
  return minor
}

const mounts = (): string[][] =>
  readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' '))

export interface Ended {
  readonly status: number | string
  readonly output: string
}

/** Nothing of this process waits for it. */
export const ended = (program: string, args: readonly string[]): Promise<Ended> =>
  new Promise((resolve) => {
    const options = { timeout: programMsMax, killSignal: 'SIGKILL', encoding: 'utf8' } as const
    execFile(program, args, options, (error, stdout, stderr) =>
      resolve({ status: error === null ? 0 : (error.code ?? error.signal ?? 'unknown'), output: stdout + stderr }),
    )
  })
