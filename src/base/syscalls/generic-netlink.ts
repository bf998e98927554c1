import { readSync, writeSync } from 'node:fs'
import { assert } from '../assert.ts'
import { closeDescriptor } from './close.ts'
import { decodeMessages, encodeMessage, type NetlinkAttribute, textAttribute } from './netlink-messages.ts'
import { netlinkSocket } from './sockets.ts'
import { SystemCallError } from './system-call-error.ts'

// linux/netlink.h, linux/genetlink.h
const controllerFamily = 0x10
const askForFamily = 3
const familyName = 2
const familyNumber = 1
const errorType = 2
const answerBytesMax = 64 * 1024

/** Speaks to one part of the kernel, such as "nbd". Blocks its thread, for as long as the kernel takes to do what it is asked. */
export class GenericNetlink implements Disposable {
  readonly #fd = netlinkSocket()
  readonly #family: number
  #asked = 0

  /** A kernel that has no such part, or has not loaded it, is ENOENT. */
  constructor(name: string) {
    try {
      const told = this.#ask(controllerFamily, askForFamily, [textAttribute(familyName, name)])
      const number = told.find(({ type }) => type === familyNumber)
      assert(number !== undefined && number.data.length === 2, 'the kernel tells the number of a family')
      this.#family = number.data.readUInt16LE()
    } catch (error) {
      this[Symbol.dispose]()
      throw error
    }
  }

  /** What the kernel answers; what it refuses is a `SystemCallError`. */
  ask(command: number, attributes: readonly NetlinkAttribute[]): NetlinkAttribute[] {
    return this.#ask(this.#family, command, attributes)
  }

  #ask(family: number, command: number, attributes: readonly NetlinkAttribute[]): NetlinkAttribute[] {
    const sequence = ++this.#asked
    writeSync(this.#fd, encodeMessage({ family, command, sequence, attributes }))
    const answer = Buffer.alloc(answerBytesMax)
    const told: NetlinkAttribute[] = []
    // What it tells comes before the word that it is done.
    for (;;) {
      const bytes = readSync(this.#fd, answer)
      for (const message of decodeMessages(answer.subarray(0, bytes))) {
        if (message.sequence !== sequence) continue
        if (message.type !== errorType) told.push(...message.attributes)
        else if (message.error === 0) return told
        else throw new SystemCallError(-message.error, 'netlink')
      }
    }
  }

  [Symbol.dispose](): void {
    closeDescriptor(this.#fd)
  }
}
