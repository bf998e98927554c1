import type { z } from 'zod'
import { TidemarkError } from '../base/errors.ts'

/** The vault's HTTP API, however it is reached: the vault's own socket, or an agent's that passes it on. */
export interface ApiClient {
  /** The checked answer; the failure told by the server as a TidemarkError, `unreachable` where none answers. */
  json<T>(method: 'GET' | 'POST' | 'PATCH' | 'DELETE', path: string, schema: z.ZodType<T>, body?: unknown): Promise<T>
  /** The answer's bytes as they come; a stream that breaks off throws. */
  stream(method: 'GET' | 'POST', path: string, body?: unknown, signal?: AbortSignal): Promise<AsyncIterable<Uint8Array>>
}

/** A path of the API with its parameters, those that are undefined left out. */
export function apiPath(
  path: string,
  query: Readonly<Record<string, string | number | readonly string[] | undefined>> = {},
): string {
  const parameters = new URLSearchParams()
  for (const [key, value] of Object.entries(query)) {
    if (value === undefined) continue
    for (const one of Array.isArray(value) ? value : [value]) parameters.append(key, String(one))
  }
  const text = parameters.toString()
  return text === '' ? path : `${path}?${text}`
}

/** Longest line of a stream: the whole state of a vault. */
const lineCharactersMax = 64 * 1024 * 1024

/** One JSON value a line, as the API streams long lists. */
export async function* jsonLines<T>(pieces: AsyncIterable<Uint8Array>, schema: z.ZodType<T>): AsyncGenerator<T> {
  const decoder = new TextDecoder()
  let held = ''
  for await (const piece of pieces) {
    held += decoder.decode(piece, { stream: true })
    const lines = held.split('\n')
    held = lines.pop() as string
    if (held.length > lineCharactersMax)
      throw new TidemarkError('protocol-violation', { message: `a line of more than ${lineCharactersMax} characters` })
    for (const line of lines) if (line !== '') yield schema.parse(JSON.parse(line))
  }
  if (held !== '') yield schema.parse(JSON.parse(held))
}
