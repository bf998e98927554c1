import { Readable } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'

/**
 * Sends values as lines of JSON, at the reader's pace. What fails before the first line is answered as an error;
 * afterwards the connection is cut, so that no reader takes a part for the whole.
 */
export async function sendLines(reply: FastifyReply, values: AsyncIterable<unknown>): Promise<FastifyReply> {
  return sendStream(reply, 'application/x-ndjson', toLines(values))
}

async function* toLines(values: AsyncIterable<unknown>): AsyncGenerator<Buffer> {
  for await (const value of values) yield Buffer.from(`${JSON.stringify(value)}\n`)
}

export async function sendStream(
  reply: FastifyReply,
  type: string,
  pieces: AsyncIterable<Uint8Array>,
  headers: Readonly<Record<string, string>> = {},
): Promise<FastifyReply> {
  const iterator = pieces[Symbol.asyncIterator]()
  const first = await iterator.next()
  async function* all(): AsyncGenerator<Uint8Array> {
    try {
      if (first.done) return
      yield first.value
      for (;;) {
        const next = await iterator.next()
        if (next.done) return
        yield next.value
      }
    } finally {
      await iterator.return?.()
    }
  }
  return reply
    .type(type)
    .headers(headers)
    .send(Readable.from(all(), { objectMode: false, highWaterMark: 1024 * 1024 }))
}

/** Aborts when the client goes away before it has its answer. */
export function gone(request: FastifyRequest, reply: FastifyReply): AbortSignal {
  const abort = new AbortController()
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished)
      abort.abort(new DOMException(`the client of ${request.method} ${request.url} went away`, 'AbortError'))
  })
  return abort.signal
}
