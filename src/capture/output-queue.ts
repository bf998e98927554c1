import type { CaptureOutput } from './capture.ts'

/** What an output counts towards the limit of bytes that are waiting to be taken. */
export function waitingBytes(output: CaptureOutput): number {
  if (output.kind !== 'batch') return 0
  return output.blocks.reduce((sum, block) => sum + block.length, output.bytes.length)
}

/** An output as it leaves the thread that made it: buffers of their own travel without a copy. */
export function leaving(output: CaptureOutput): { output: CaptureOutput; transfer: ArrayBuffer[] } {
  if (output.kind !== 'batch') return { output, transfer: [] }
  const bytes = alone(output.bytes)
  const blocks = output.blocks.map(alone)
  return { output: { ...output, bytes, blocks }, transfer: [bytes.buffer, ...blocks.map(({ buffer }) => buffer)] }
}

function alone(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const isAlone = bytes.buffer instanceof ArrayBuffer && bytes.buffer.byteLength === bytes.length
  // Small buffers come from Node's pool, which must not be transferred.
  return isAlone ? (bytes as Uint8Array<ArrayBuffer>) : Uint8Array.from(bytes)
}

/** What has come from the thread of a capture and is not taken yet. How much that may be is between the two. */
export class OutputQueue implements AsyncIterable<CaptureOutput> {
  readonly #taken: (output: CaptureOutput) => void
  readonly #outputs: CaptureOutput[] = []
  #failure: Error | undefined
  #isEnded = false
  #arrived: () => void = () => undefined

  /** `taken` is told of each output when the next one is asked for. */
  constructor(taken: (output: CaptureOutput) => void) {
    this.#taken = taken
  }

  put(output: CaptureOutput): void {
    this.#outputs.push(output)
    this.#arrived()
  }

  /** The first reason counts; it is thrown once all outputs are taken and the thread has ended. */
  fail(reason: Error): void {
    this.#failure ??= reason
  }

  get failure(): Error | undefined {
    return this.#failure
  }

  end(): void {
    this.#isEnded = true
    this.#arrived()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<CaptureOutput> {
    for (;;) {
      const output = this.#outputs.shift()
      if (output !== undefined) {
        yield output
        this.#taken(output)
      } else if (this.#isEnded) {
        if (this.#failure !== undefined) throw this.#failure
        return
      } else {
        await new Promise<void>((resolve) => (this.#arrived = resolve))
      }
    }
  }
}
