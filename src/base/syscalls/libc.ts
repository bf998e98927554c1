import { createRequire } from 'node:module'
import { TidemarkError } from '../errors.ts'
import { SystemCallError } from './system-call-error.ts'

/**
 * The one door to the C library. Linux with glibc on x64 and arm64 only: struct layouts, flag values and call numbers
 * in this folder are those of these two. All calls are synchronous; they are made from worker threads.
 * Why a foreign-function interface and which one: docs/decisions/0004-system-calls.md.
 *
 * koffi is loaded at the first call, not at import: it costs 10 ms that most commands need not pay.
 */

/** C types of parameters, and what JavaScript passes for each. `bytes` is a pointer to the array's memory, or NULL. */
interface Parameters {
  int: number
  uint32: number
  int64: number | bigint
  uint64: number | bigint
  size_t: number
  bytes: Uint8Array | null
}
type Parameter = keyof Parameters
type Values<P extends readonly Parameter[]> = { -readonly [Index in keyof P]: Parameters[P[Index]] }

interface Native {
  /** Calls the function; a result of -1 comes back with the errno of the failure. */
  func(
    name: string,
    result: 'int' | 'int64',
    parameters: readonly Parameter[],
  ): (...values: unknown[]) => number | bigint
  errno(): number
}

let loaded: Native | undefined

function native(): Native {
  return (loaded ??= loadNative())
}

function loadNative(): Native {
  if (process.platform !== 'linux' || !['x64', 'arm64'].includes(process.arch)) {
    throw unusable(`this is ${process.platform} on ${process.arch}`)
  }
  try {
    const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi')
    const library = koffi.load('libc.so.6')
    return {
      func: (name, result, parameters) =>
        library.func(
          name,
          result,
          parameters.map((parameter) => (parameter === 'bytes' ? 'void *' : parameter)),
        ),
      errno: () => koffi.errno(),
    }
  } catch (cause) {
    throw unusable('glibc or the koffi package could not be loaded', cause)
  }
}

function unusable(found: string, cause?: unknown): TidemarkError {
  return new TidemarkError('unusable-platform', {
    message: `system calls cannot be made: ${found}`,
    hint: 'run the agent on Linux with glibc (not musl), on x64 or arm64, from a complete installation',
    cause,
  })
}

/**
 * A function of the C library, looked up at its first call. Failure is thrown as a `SystemCallError`; `path` is what the
 * error names. errno is read straight after the call, before anything else on this thread can make one.
 */
export function libcFunction<const P extends readonly Parameter[]>(
  name: string,
  result: 'int' | 'int64',
  parameters: P,
  syscall = name,
): (values: Values<P>, path?: string) => number {
  let call: ((...values: unknown[]) => number | bigint) | undefined
  return (values, path) => {
    call ??= native().func(name, result, parameters)
    const returned = call(...(values as unknown[]))
    if (returned === -1) throw new SystemCallError(native().errno(), syscall, path)
    if (typeof returned === 'bigint') throw new RangeError(`${syscall} returned ${returned}, past 2^53`)
    return returned
  }
}

/** Names and paths are binary strings (one char is one byte); C wants them with a NUL at the end and none before. */
export function cString(text: string): Buffer {
  if (text.includes('\0'))
    throw new TypeError(`a name with a NUL byte cannot be passed to the system: ${JSON.stringify(text)}`)
  return Buffer.from(`${text}\0`, 'latin1')
}
