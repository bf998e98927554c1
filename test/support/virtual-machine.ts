import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, mkdirSync, openSync, readFileSync } from 'node:fs'
import net, { type AddressInfo, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { lacking } from '../run/programs.ts'
import { lackingGuestKernel, makeGuest } from './guest-kernel.ts'
import { until } from './until.ts'

/**
 * A small Linux of its own, in emulation (qemu without KVM, so that it runs anywhere). It sees the files of this machine, which
 * it does not write, so that it has its programs, and this checkout; what it does is told by messages with
 * virtual-machine-guest.ts, which runs in it. It reaches servers of this machine's loopback at `hostAddress`.
 */
export const hostAddress = '10.0.2.2'

const fileServer = '/usr/lib/qemu/virtiofsd'
const memory = '1G'
/** Nothing that is asked of it takes so long, in emulation on a loaded machine. */
const answerMsMax = 300_000

/** For the `skip` of a test. */
export const lackingVirtualMachine = (): string | false =>
  (process.geteuid?.() !== 0 && 'sharing files with a virtual machine needs root') ||
  (process.arch !== 'x64' && 'the virtual machine is of x64') ||
  lacking('qemu-system-x86_64', 'socat') ||
  (!existsSync(fileServer) && `needs ${fileServer}`) ||
  lackingGuestKernel()

export type ToGuest =
  /** A program of this machine. */
  | { readonly kind: 'run'; readonly program: string; readonly args: readonly string[] }
  /** The command line of this project. */
  | { readonly kind: 'tidemark'; readonly args: readonly string[] }
  /** Of one owner: answered by a `MirrorLeg` as JSON. */
  | { readonly kind: 'look-at-leg'; readonly owner: string }
  /** What a volume server does for the devices of its machine when the volume has grown. */
  | { readonly kind: 'enlarge'; readonly owner: string; readonly bytes: number }
  /** What a new volume server does for the devices of its predecessor. */
  | { readonly kind: 'take-back'; readonly path: string; readonly exportName: string; readonly owner: string }
  /** Files are written from now on, one after the other; each one that is durable is told. */
  | { readonly kind: 'write'; readonly folder: string }
  | { readonly kind: 'stop-writing' }

export type FromGuest =
  | { readonly kind: 'ready' }
  | { readonly kind: 'written'; readonly name: string; readonly hash: string }
  | { readonly kind: 'done'; readonly id: number; readonly status: number; readonly output: string }

/** A file that was durable, as the guest was told. */
export interface WrittenFile {
  readonly name: string
  readonly hash: string
}

export class VirtualMachine implements AsyncDisposable {
  /** In the order in which they were. */
  readonly written: WrittenFile[] = []
  readonly #processes: readonly ChildProcess[]
  readonly #server: Server
  readonly #console: string
  readonly #waiting = new Map<number, (answer: { status: number; output: string }) => void>()
  #socket: Socket | undefined
  #asked = 0
  #isReady = false

  private constructor(processes: readonly ChildProcess[], server: Server, console: string) {
    this.#processes = processes
    this.#server = server
    this.#console = console
    server.on('connection', (socket) => this.#hear(socket))
  }

  /** It starts while others work; `ready` waits for it. `folder` is made. Disks are files, /dev/vda and so on. */
  static async start(folder: string, disks: readonly string[]): Promise<VirtualMachine> {
    mkdirSync(folder)
    const server = net.createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const modules = ['virtiofs', 'virtio_pci', 'virtio_net', 'virtio_blk', 'nbd', 'raid1']
    const { image, files } = makeGuest(folder, modules, initOf((server.address() as AddressInfo).port))
    const shared = join(folder, 'files.sock')
    const console = join(folder, 'console.txt')
    const said = openSync(join(folder, 'said.txt'), 'a')
    const begin = (program: string, args: readonly string[]): ChildProcess =>
      spawn(program, args, { stdio: ['ignore', said, said] })
    const sharing = begin(fileServer, [
      `--socket-path=${shared}`,
      '-o',
      'source=/,cache=auto,sandbox=chroot,announce_submounts',
    ])
    const machine: ChildProcess[] = [sharing]
    try {
      await until('the files are shared', () => existsSync(shared) || sharing.exitCode !== null)
      machine.unshift(begin('qemu-system-x86_64', argumentsOf({ image, files, shared, console, disks })))
    } finally {
      closeSync(said)
    }
    return new VirtualMachine(machine, server, console)
  }

  async ready(): Promise<void> {
    await until(
      () => `the virtual machine answers; its console:\n${this.console}`,
      () => this.#isReady || this.#hasEnded(),
      answerMsMax,
    )
    assert.ok(this.#isReady, `the virtual machine ended; its console:\n${this.console}`)
  }

  /** What its kernel says. */
  get console(): string {
    return existsSync(this.#console) ? readFileSync(this.#console, 'utf8').slice(-8000) : ''
  }

  async ask(message: ToGuest): Promise<{ status: number; output: string }> {
    const id = ++this.#asked
    let answer: { status: number; output: string } | undefined
    this.#waiting.set(id, (told) => (answer = told))
    this.#socket?.write(`${JSON.stringify({ ...message, id })}\n`)
    const what = (): string => `an answer to ${JSON.stringify(message)}; the console:\n${this.console}`
    await until(what, () => answer !== undefined || this.#hasEnded(), answerMsMax)
    return answer ?? assert.fail(`the virtual machine ended; its console:\n${this.console}`)
  }

  /** It has to succeed. */
  async expect(message: ToGuest): Promise<string> {
    const { status, output } = await this.ask(message)
    assert.equal(status, 0, `${JSON.stringify(message)} ended with ${status}: ${output}\n${this.console}`)
    return output
  }

  run(program: string, ...args: readonly string[]): Promise<string> {
    return this.expect({ kind: 'run', program, args })
  }

  tidemark(...args: readonly string[]): Promise<string> {
    return this.expect({ kind: 'tidemark', args })
  }

  /** Until so many more files were durable than are now. */
  async writes(count: number): Promise<void> {
    const wanted = this.written.length + count
    const what = (): string =>
      `${wanted} files are written, and not ${this.written.length}; the console:\n${this.console}`
    await until(what, () => this.written.length >= wanted || this.#hasEnded(), answerMsMax)
    assert.ok(this.written.length >= wanted, what())
  }

  #hasEnded(): boolean {
    return this.#processes.some(({ exitCode, signalCode }) => exitCode !== null || signalCode !== null)
  }

  #hear(socket: Socket): void {
    this.#socket = socket
    socket.on('error', () => undefined)
    createInterface({ input: socket }).on('line', (line) => {
      const message = JSON.parse(line) as FromGuest
      if (message.kind === 'ready') this.#isReady = true
      else if (message.kind === 'written') this.written.push({ name: message.name, hash: message.hash })
      else this.#waiting.get(message.id)?.(message)
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const one of this.#processes) {
      if (one.exitCode !== null || one.signalCode !== null) continue
      const ended = once(one, 'exit')
      one.kill('SIGKILL')
      await ended
    }
    this.#socket?.destroy()
    this.#server.close()
  }
}

/** A TCP port of loopback, which leads to a Unix socket for as long as somebody listens there. */
export async function portOf(path: string): Promise<AsyncDisposable & { readonly port: number }> {
  const sockets = new Set<Socket>()
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (near) => {
    const far = net.connect({ path, allowHalfOpen: true })
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(one)
      one.on('error', () => other.destroy())
      one.on('close', () => {
        sockets.delete(one)
        other.destroy()
      })
      one.pipe(other)
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, 'close')
      server.close()
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}

/** The first program of the guest; when the one that it runs ends, the machine does. */
const initOf = (port: number): string => `ip link set lo up
ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0
mount -t virtiofs -o ro files /host || echo the files are not there
mount -t proc none /host/proc
mount -t devtmpfs none /host/dev
mount -t sysfs none /host/sys
for folder in tmp run mnt; do mount -t tmpfs none /host/$folder; done
chroot /host env HOME=/tmp PATH=/usr/sbin:/usr/bin:/sbin:/bin ${process.execPath} --disable-warning=ExperimentalWarning ${join(import.meta.dirname, 'virtual-machine-guest.ts')} ${hostAddress} ${port} 2>&1
echo the program of the guest ended with $?
poweroff -f`

interface MachineParts {
  readonly image: string
  readonly files: string
  readonly shared: string
  readonly console: string
  readonly disks: readonly string[]
}

const argumentsOf = ({ image, files, shared, console, disks }: MachineParts): string[] => [
  ...['-machine', 'q35,memory-backend=memory', '-accel', 'tcg,thread=multi', '-cpu', 'max', '-m', memory],
  // Shared with the process that serves the files.
  ...['-object', `memory-backend-memfd,id=memory,size=${memory},share=on`],
  ...['-nodefaults', '-display', 'none', '-no-reboot', '-serial', `file:${console}`],
  ...['-kernel', image, '-initrd', files, '-append', 'console=ttyS0 panic=-1'],
  ...['-chardev', `socket,id=files,path=${shared}`, '-device', 'vhost-user-fs-pci,chardev=files,tag=files'],
  ...['-netdev', 'user,id=net', '-device', 'virtio-net-pci,netdev=net'],
  ...disks.flatMap((disk, index) => [
    ...['-drive', `file=${disk},format=raw,if=none,id=disk${index}`],
    ...['-device', `virtio-blk-pci,drive=disk${index}`],
  ]),
]
