import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, open } from 'node:fs/promises'
import net from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { enlargeDevices, takeDevicesBack } from '../../src/nbd/kernel-device.ts'
import { MirrorLegs } from '../../src/nbd/mirror-leg.ts'
import { systemClock } from '../../src/base/clock.ts'
import { systemRandom } from '../../src/base/random.ts'
import type { Parts, Terminal } from '../../src/cli/parts.ts'
import type { FromGuest, ToGuest } from './virtual-machine.ts'

/** Runs in a virtual machine, and does there what it is told. One program for all: in emulation, each start of one takes many seconds. */
const socket = net.connect(Number(process.argv[3]), process.argv[2])
await once(socket, 'connect')
const say = (message: FromGuest): void => void socket.write(`${JSON.stringify(message)}\n`)
socket.on('close', () => process.exit(0))

let legs: MirrorLegs | undefined
let stop = new AbortController()
let writing: Promise<void> = Promise.resolve()

createInterface({ input: socket }).on('line', (line) => {
  const { id, ...message } = JSON.parse(line) as ToGuest & { id: number }
  answer(message as ToGuest).then(
    ({ status, output }) => say({ kind: 'done', id, status, output }),
    (error: unknown) => say({ kind: 'done', id, status: -1, output: String((error as Error).stack ?? error) }),
  )
})
say({ kind: 'ready' })

interface Answer {
  readonly status: number
  readonly output: string
}

async function answer(message: ToGuest): Promise<Answer> {
  switch (message.kind) {
    case 'run':
      return await run(message.program, message.args)
    case 'tidemark':
      return await tidemark(message.args)
    case 'take-back': {
      const taken = await takeDevicesBack(message, new AbortController().signal)
      return { status: 0, output: taken.join(' ') }
    }
    case 'enlarge':
      return { status: 0, output: enlargeDevices(message.owner, message.bytes).join(' ') }
    case 'look-at-leg':
      legs ??= new MirrorLegs(message.owner)
      return { status: 0, output: JSON.stringify(legs.look()) }
    case 'write':
      stop = new AbortController()
      writing = write(message.folder, stop.signal)
      // It is observed when it is to stop.
      writing.catch(() => undefined)
      return { status: 0, output: '' }
    case 'stop-writing':
      stop.abort()
      await writing
      return { status: 0, output: '' }
  }
}

async function run(program: string, args: readonly string[]): Promise<Answer> {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  child.stdout.on('data', (bytes: Buffer) => (output += bytes.toString()))
  child.stderr.on('data', (bytes: Buffer) => (output += bytes.toString()))
  const [status] = (await once(child, 'close')) as [number | null]
  return { status: status ?? -1, output }
}

async function tidemark(args: readonly string[]): Promise<Answer> {
  const { makeProgram } = await import('../../src/cli/program.ts')
  let output = ''
  let status = 0
  const terminal: Terminal = {
    write: (text) => (output += text.toString()),
    isTerminal: false,
    drained: () => Promise.resolve(),
  }
  const parts: Parts = {
    clock: systemClock,
    random: systemRandom,
    out: terminal,
    err: terminal,
    environment: {},
    isRoot: true,
    signal: new AbortController().signal,
    exitWith: (wanted) => (status = wanted),
  }
  try {
    await makeProgram(parts).parseAsync(args, { from: 'user' })
  } catch (error) {
    return {
      status: 1,
      output: `${output}${error instanceof Error ? JSON.stringify({ ...error, message: error.message }) : String(error)}`,
    }
  }
  return { status, output }
}

let count = 0

/** A file of its own each, so that whatever is missing, or half there, is seen. */
async function write(folder: string, signal: AbortSignal): Promise<void> {
  await mkdir(folder, { recursive: true })
  while (!signal.aborted) {
    const name = `file-${String(++count).padStart(5, '0')}`
    const content = Buffer.alloc(1000 + ((count * 7919) % 6000), `${name} of the guest, `)
    const file = await open(join(folder, name), 'wx')
    await file.writeFile(content)
    await file.sync()
    await file.close()
    const above = await open(folder)
    await above.sync()
    await above.close()
    // However fast the machine and long the test, the disk has room.
    await sleep(20)
    say({ kind: 'written', name, hash: createHash('sha256').update(content).digest('hex') })
  }
}
