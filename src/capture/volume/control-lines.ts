import type { Socket } from 'node:net'
import * as z from 'zod'
import { Malformed } from '../../base/bytes.ts'
import { problemsMax } from '../../model/report.ts'
import type { FromVolumeServer, ToVolumeServer } from './control.ts'

/** Longer than any message: thousands of regions, or the problems of a server. */
export const lineBytesMax = 256 * 1024
const regionsMax = 4096
const labelMax = 1024

const count = z.int().min(0)
const tag = count
const regions = z.array(count).max(regionsMax)
const text = z.string().max(4096)

/** What an agent sends; `settings` are checked against those of the vault's schema where they come from. */
const toServer = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('acknowledged'), epoch: count, number: count }),
  z.object({ kind: z.literal('line'), up: z.boolean() }),
  z.object({ kind: z.literal('mark'), tag, label: z.string().max(labelMax) }),
  z.object({ kind: z.literal('ask-place'), tag }),
  z.object({ kind: z.literal('ask-touched'), tag, from: count }),
  z.object({ kind: z.literal('healed'), regions, number: count }),
  z.object({
    kind: z.literal('settings'),
    settings: z.object({
      backing: z.string(),
      bytes: z.int().min(1).optional(),
      logBytesMax: z.int().min(1),
      listen: z.string().optional(),
      zeroLoss: z.object({ degradeMs: z.int().min(1).optional() }).optional(),
    }),
  }),
  z.object({ kind: z.literal('release') }),
])

const fromServer = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('volume'),
    epoch: count,
    bytes: count,
    regionBytes: z.int().min(1),
    first: z.int().min(1),
    acknowledged: z.object({ epoch: count, number: count }),
    software: text,
  }),
  z.object({ kind: z.literal('durable'), epoch: count, number: count }),
  z.object({ kind: z.literal('marked'), tag, number: count }),
  z.object({ kind: z.literal('place'), tag, epoch: count, number: count }),
  z.object({ kind: z.literal('touched'), tag, regions, next: count.optional() }),
  z.object({
    kind: z.literal('state'),
    clients: count,
    logBytes: count,
    unsentBytes: count.optional(),
    problems: z.array(z.object({ code: text, message: text, hint: text.optional() })).max(problemsMax),
  }),
])

export const formatLine = (message: ToVolumeServer | FromVolumeServer): string => `${JSON.stringify(message)}\n`

export const parseToServer = (line: string): ToVolumeServer => parse(toServer, line) as ToVolumeServer
export const parseFromServer = (line: string): FromVolumeServer => parse(fromServer, line) as FromVolumeServer

function parse<T>(schema: z.ZodType<T>, line: string): T {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    throw new Malformed('a line that is no JSON')
  }
  const read = schema.safeParse(value)
  if (read.success) return read.data
  const [issue] = read.error.issues
  throw new Malformed(`a message that is none: ${issue?.path.join('.')} ${issue?.message}`)
}

/** The lines of a socket until its other end closes it; `Malformed` for one that is too long, or cut off. */
export async function* linesOf(socket: Socket): AsyncGenerator<string> {
  let rest: Buffer = Buffer.alloc(0)
  for await (const piece of socket as AsyncIterable<Buffer>) {
    rest = rest.length === 0 ? piece : Buffer.concat([rest, piece])
    let start = 0
    for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10, start)) {
      if (end - start > lineBytesMax) throw tooLong()
      yield rest.toString('utf8', start, end)
      start = end + 1
    }
    rest = rest.subarray(start)
    if (rest.length > lineBytesMax) throw tooLong()
  }
  if (rest.length > 0) throw new Malformed('a line without an end')
}

const tooLong = (): Malformed => new Malformed(`a line of more than ${lineBytesMax} bytes`)
