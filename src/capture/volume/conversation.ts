import type { Wake } from '../../base/wake.ts'
import { TidemarkError } from '../../base/errors.ts'
import type { FromVolumeServer } from './control.ts'
import type { ServerLink } from './server-link.ts'

type Told<Kind extends FromVolumeServer['kind']> = Extract<FromVolumeServer, { kind: Kind }>
type Answer = Told<'place'> | Told<'touched'>

interface Question {
  readonly answered: (answer: Answer) => void
  readonly failed: (reason: unknown) => void
}

/** What the server says in one conversation: what it has told last, and its answers. */
export class Conversation {
  readonly #link: ServerLink
  readonly #changed: Wake
  readonly #questions = new Map<number, Question>()
  readonly #marked: (tag: number) => void
  #tag = 0
  #isOver: TidemarkError | undefined
  #durable = 0
  #state: Told<'state'> | undefined

  /** `marked` is told of each mark that stands in the log. */
  constructor(link: ServerLink, changed: Wake, marked: (tag: number) => void) {
    this.#link = link
    this.#changed = changed
    this.#marked = marked
  }

  /** The log is synced up to this record; 0 before that is told. */
  get durable(): number {
    return this.#durable
  }

  get state(): Told<'state'> | undefined {
    return this.#state
  }

  /** Until it is over, or another epoch has begun, which is another conversation. */
  async listen(): Promise<void> {
    try {
      for await (const message of this.#link.messages) {
        if (!this.#take(message)) return
        this.#changed.wake()
      }
    } finally {
      this.#isOver = new TidemarkError('interrupted', { message: 'the conversation with the volume server is over' })
      for (const { failed } of this.#questions.values()) failed(this.#isOver)
      this.#questions.clear()
    }
  }

  /** The last record there was when this was answered. */
  async place(): Promise<number> {
    const answer = await this.#ask((tag) => this.#link.tell({ kind: 'ask-place', tag }))
    if (answer.kind !== 'place') throw mixedUp()
    // Another epoch is told of by itself; nothing is known of this one any more.
    return answer.epoch === this.#link.volume.epoch ? answer.number : Infinity
  }

  async touched(from: number): Promise<Pick<Told<'touched'>, 'regions' | 'next'>> {
    const answer = await this.#ask((tag) => this.#link.tell({ kind: 'ask-touched', tag, from }))
    if (answer.kind !== 'touched') throw mixedUp()
    return answer
  }

  /** Whether the conversation goes on. */
  #take(message: FromVolumeServer): boolean {
    switch (message.kind) {
      case 'volume':
        return message.epoch === this.#link.volume.epoch
      case 'durable':
        if (message.epoch === this.#link.volume.epoch) this.#durable = Math.max(this.#durable, message.number)
        return true
      case 'marked':
        this.#marked(message.tag)
        return true
      case 'place':
      case 'touched':
        this.#questions.get(message.tag)?.answered(message)
        this.#questions.delete(message.tag)
        return true
      case 'state':
        this.#state = message
        return true
    }
  }

  #ask(tell: (tag: number) => void): Promise<Answer> {
    if (this.#isOver) return Promise.reject(this.#isOver)
    const tag = ++this.#tag
    return new Promise((answered, failed) => {
      this.#questions.set(tag, { answered, failed })
      tell(tag)
    })
  }
}

const mixedUp = (): TidemarkError =>
  new TidemarkError('protocol-violation', {
    message: 'the volume server answered another question than it was asked',
    hint: 'let the volume server and the agent be of one version: end the volume server, the agent starts it again',
  })
