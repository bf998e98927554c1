#!/usr/bin/env node
import { systemClock } from './base/clock.ts'
import { keepCompiled } from './base/compile-cache.ts'
import { systemRandom } from './base/random.ts'
import { tellFailure } from './cli/failure.ts'
import { type ExitStatus, exitStatus, type Parts, type Terminal } from './cli/parts.ts'

/** The only composition root: argv and environment become parts, parts a command, its end an exit status. */

// What is imported above is compiled before this line runs; the rest, nearly everything, is imported below it.
const compiled = keepCompiled(process.env['XDG_CACHE_HOME'])
if (compiled !== undefined) process.env['NODE_COMPILE_CACHE'] = compiled
const { CommanderError } = await import('commander')
const { makeProgram } = await import('./cli/program.ts')

const interrupted = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => interrupted.abort(new DOMException(`stopped by ${signal}`, 'AbortError')))
}

const endsWithInput = process.env['TIDEMARK_ENDS_WITH_INPUT'] !== undefined

// A pipe that was closed at the other end ("| head") is the end of the output, not a failure.
process.stdout.on('error', (error) => {
  const isClosed = 'code' in error && error.code === 'EPIPE'
  if (isClosed && endsWithInput) return
  if (isClosed) process.exit(exitStatus.done)
  throw error
})

// A task of an agent ends with the agent, however that ended, and in order.
if (endsWithInput) {
  process.stderr.on('error', () => undefined)
  process.stdin.resume().once('close', () => {
    interrupted.abort(new DOMException('stopped: the agent that began this has ended', 'AbortError'))
  })
}

const terminal = (stream: NodeJS.WriteStream): Terminal => ({
  write: (text) => void stream.write(text),
  isTerminal: stream.isTTY,
  drained: () => new Promise((done) => stream.write('', () => done())),
})

let status: ExitStatus = exitStatus.done
const parts: Parts = {
  clock: systemClock,
  random: systemRandom,
  out: terminal(process.stdout),
  err: terminal(process.stderr),
  environment: process.env,
  isRoot: process.getuid?.() === 0,
  signal: interrupted.signal,
  exitWith: (wanted) => {
    status = wanted
  },
}

try {
  await makeProgram(parts).parseAsync()
} catch (error) {
  if (error instanceof CommanderError) status = error.exitCode === 0 ? exitStatus.done : exitStatus.usage
  else if (interrupted.signal.aborted && error === interrupted.signal.reason) status = exitStatus.interrupted
  else status = tellFailure(error, process.argv.includes('--json'), parts)
}
process.exitCode = status
// What was written to a pipe may be on its way still, and would go with the process.
await Promise.all([parts.out.drained(), parts.err.drained()])
process.exit()
