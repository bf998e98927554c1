import { Malformed } from '../../../base/bytes.ts'
import { type Lsn, parseLsn, parseTimeline, type Timeline } from '../../../model/lsn.ts'

/**
 * The commands of the streaming replication protocol that a physical standby or a receiver of WAL gives.
 * https://www.postgresql.org/docs/current/protocol-replication.html
 */
export type ReplicationCommand =
  | { readonly kind: 'identify-system' }
  | { readonly kind: 'show'; readonly name: string }
  | { readonly kind: 'timeline-history'; readonly timeline: Timeline }
  | { readonly kind: 'start'; readonly from: Lsn; readonly timeline: Timeline | undefined }
  | { readonly kind: 'create-slot'; readonly slot: string; readonly isTemporary: boolean }
  | { readonly kind: 'read-slot'; readonly slot: string }
  /** A command that the protocol has and this server does not do. */
  | { readonly kind: 'unsupported'; readonly what: string }

const tokens = /\s*(?:("(?:[^"]|"")*")|([0-9A-Fa-f]{1,8}\/[0-9A-Fa-f]{1,8})(?![\w/])|([A-Za-z_][\w.]*|\d+)|([(),;]))/y
const namePattern = /^[a-z0-9_]{1,63}$/
const unsupported = ['BASE_BACKUP', 'UPLOAD_MANIFEST', 'DROP_REPLICATION_SLOT', 'ALTER_REPLICATION_SLOT']

/** Anything else, SQL among it, is `Malformed`. */
export function parseReplicationCommand(text: string): ReplicationCommand {
  const words = new Words(text)
  const command = parse(words)
  if (command.kind === 'unsupported') return command
  words.skip(';')
  words.end()
  return command
}

function parse(words: Words): ReplicationCommand {
  const verb = words.next().toUpperCase()
  switch (verb) {
    case 'IDENTIFY_SYSTEM':
      return { kind: 'identify-system' }
    case 'SHOW':
      return { kind: 'show', name: words.next().toLowerCase() }
    case 'TIMELINE_HISTORY':
      return { kind: 'timeline-history', timeline: parseTimeline(words.next()) }
    case 'START_REPLICATION':
      return parseStart(words)
    case 'CREATE_REPLICATION_SLOT':
      return parseCreateSlot(words)
    case 'READ_REPLICATION_SLOT':
      return { kind: 'read-slot', slot: words.name() }
    default:
      if (unsupported.includes(verb)) return { kind: 'unsupported', what: verb }
      throw new Malformed(`a command that begins with ${JSON.stringify(verb.slice(0, 40))}`)
  }
}

/** `[SLOT name] [PHYSICAL] X/X [TIMELINE n]`. All WAL there is may be had, so a slot is a name and nothing else. */
function parseStart(words: Words): ReplicationCommand {
  if (words.skip('SLOT')) words.name()
  if (words.skip('LOGICAL')) return { kind: 'unsupported', what: 'logical replication' }
  words.skip('PHYSICAL')
  const from = parseLsn(words.next())
  return { kind: 'start', from, timeline: words.skip('TIMELINE') ? parseTimeline(words.next()) : undefined }
}

/** `name [TEMPORARY] PHYSICAL [RESERVE_WAL]`, from version 15 on `… PHYSICAL (RESERVE_WAL [true])`. */
function parseCreateSlot(words: Words): ReplicationCommand {
  const slot = words.name()
  const isTemporary = words.skip('TEMPORARY')
  if (words.skip('LOGICAL')) return { kind: 'unsupported', what: 'logical replication' }
  words.expect('PHYSICAL')
  if (words.skip('(')) {
    words.expect('RESERVE_WAL')
    if (!words.skip(')')) {
      words.next()
      words.expect(')')
    }
  } else words.skip('RESERVE_WAL')
  return { kind: 'create-slot', slot, isTemporary }
}

class Words {
  readonly #words: string[] = []
  #at = 0

  constructor(text: string) {
    const rest = text.trimEnd()
    tokens.lastIndex = 0
    for (let at = 0; at < rest.length; at = tokens.lastIndex) {
      const word = tokens.exec(rest)
      if (!word) throw new Malformed(`a command with ${JSON.stringify(rest.slice(at, at + 20))} in it`)
      this.#words.push((word[1] ?? word[2] ?? word[3] ?? word[4]) as string)
    }
  }

  next(): string {
    const word = this.#words[this.#at++]
    if (word === undefined) throw new Malformed('a command that is not whole')
    return word
  }

  skip(keyword: string): boolean {
    if (this.#words[this.#at]?.toUpperCase() !== keyword) return false
    this.#at++
    return true
  }

  expect(keyword: string): void {
    if (!this.skip(keyword)) throw new Malformed(`a command without ${keyword}`)
  }

  /** Of a slot. */
  name(): string {
    const word = this.next()
    const name = word.startsWith('"') ? word.slice(1, -1).replaceAll('""', '"') : word.toLowerCase()
    if (!namePattern.test(name)) throw new Malformed(`slot ${JSON.stringify(name.slice(0, 70))}`)
    return name
  }

  end(): void {
    if (this.#at < this.#words.length) throw new Malformed('a command that goes on after its end')
  }
}
