import { EventEmitter } from 'node:events'
import type { Worker } from 'node:worker_threads'
import type { Capture, CaptureOutput } from '../../../src/capture/capture.ts'
import { ThreadCapture } from '../../../src/capture/thread-capture.ts'
import type { FromEngine, ToEngine } from '../../../src/capture/thread-messages.ts'
import type { ThreadEngine } from '../../../src/capture/thread-worker.ts'
import type { Moment } from '../../../src/model/moment.ts'
import { type Life, never, type SimulatedTime } from '../clock.ts'

export interface ThreadParts {
  readonly make: (hand: (output: CaptureOutput) => void) => ThreadEngine
  readonly resumedMoment: Moment | undefined
  readonly life: Life
  readonly time: SimulatedTime
}

/** The thread of a capture: what it and its agent tell each other comes in order, and later. */
class SimulatedThread extends EventEmitter {
  readonly #engine: ThreadEngine
  readonly #life: Life
  readonly #time: SimulatedTime

  constructor({ make, life, time }: ThreadParts) {
    super()
    this.#life = life
    this.#time = time
    this.#engine = make((output) => this.#tell({ kind: 'output', output }))
    this.#engine.run().then(
      () => this.#exits(),
      (error: unknown) => {
        this.#tell({ kind: 'failed', error: error as Error })
        this.#exits()
      },
    )
  }

  postMessage(message: ToEngine): void {
    this.#time.after(0, () => {
      if (this.#life.alive) this.#engine.receive(message)
    })
  }

  #tell(message: FromEngine): void {
    this.#time.after(0, () => {
      if (this.#life.alive) this.emit('message', message)
    })
  }

  #exits(): void {
    this.#time.after(0, () => this.emit('exit'))
  }

  /** The world is over. */
  [Symbol.dispose](): void {
    this.#engine.receive({ kind: 'stop' })
  }
}

export interface CaptureInThread {
  readonly capture: Capture
  readonly thread: Disposable
}

/** A capture whose engine runs in a thread; both end with their process, in the middle of whatever they do. */
export function captureInThread(parts: ThreadParts): CaptureInThread {
  const { life, resumedMoment } = parts
  const thread = new SimulatedThread(parts)
  const capture = new ThreadCapture(thread as unknown as Worker, resumedMoment)
  const told = capture.outputs
  const outputs: AsyncIterable<CaptureOutput> = {
    [Symbol.asyncIterator]: () => {
      const inner = told[Symbol.asyncIterator]()
      return { next: () => (life.alive ? life.through(inner.next()) : never()) }
    },
  }
  return { thread, capture: Object.defineProperty(capture, 'outputs', { value: outputs }) }
}
