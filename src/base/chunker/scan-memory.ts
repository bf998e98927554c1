import { assert } from '../assert.ts'
import { kernelBase64 } from './kernel.generated.ts'

interface Kernel {
  cut(
    start: number,
    end: number,
    least: number,
    average: number,
    most: number,
    strictBits: bigint,
    looseBits: bigint,
  ): number
  fingerprint(start: number, end: number, seed: bigint): bigint
}

// Bytes before this one are the kernel's own. A multiple of every sector and page, so direct input and output works on `bytes`.
const bytesAt = 64 * 1024
const pageBytes = 64 * 1024

// What is used here of a global that TypeScript describes only together with the browser's.
interface Memory {
  readonly buffer: ArrayBuffer
}
interface Module {
  readonly is: 'Module'
}
const { WebAssembly } = globalThis as unknown as {
  WebAssembly: {
    Module: new (bytes: Uint8Array) => Module
    Memory: new (limits: { initial: number }) => Memory
    Instance: new (module: Module, imports: { env: { memory: Memory } }) => { exports: Kernel }
  }
}

let compiled: Module | undefined

/**
 * Memory in which WebAssembly cuts and fingerprints: read files straight into `bytes`, nothing is copied. It cannot be
 * transferred to another thread; what must outlive the next read is copied out.
 */
export class ScanMemory {
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly #kernel: Kernel

  constructor(byteCount: number) {
    compiled ??= new WebAssembly.Module(Buffer.from(kernelBase64, 'base64'))
    const memory = new WebAssembly.Memory({ initial: Math.ceil((bytesAt + byteCount) / pageBytes) })
    this.#kernel = new WebAssembly.Instance(compiled, { env: { memory } }).exports
    this.bytes = new Uint8Array(memory.buffer, bytesAt, byteCount)
  }

  /** As `Chunker.cut` defines it, of sizes that `Chunker` has checked. */
  cut(
    start: number,
    end: number,
    least: number,
    average: number,
    most: number,
    strictBits: bigint,
    looseBits: bigint,
  ): number {
    this.#checkRange(start, end)
    return this.#kernel.cut(bytesAt + start, bytesAt + end, least, average, most, strictBits, looseBits) - bytesAt
  }

  /** As `fingerprint.ts` defines it. */
  fingerprint(start: number, end: number, seed: bigint): bigint {
    this.#checkRange(start, end)
    return this.#kernel.fingerprint(bytesAt + start, bytesAt + end, seed)
  }

  #checkRange(start: number, end: number): void {
    assert(
      0 <= start && start <= end && end <= this.bytes.length,
      `range ${start} to ${end} of ${this.bytes.length} bytes`,
    )
  }
}
