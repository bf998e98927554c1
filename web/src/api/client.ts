import type { Me } from '../../../src/api/console.ts'

/** Why the console, or a vault behind it, did not do what was asked; `hint` is the next step. */
export class ApiFailure extends Error {
  readonly code: string
  readonly hint: string | undefined
  readonly status: number

  constructor(status: number, code: string, message: string, hint?: string) {
    super(message)
    this.name = 'ApiFailure'
    this.status = status
    this.code = code
    this.hint = hint
  }
}

/** Codes that this side gives where no answer came, or one that no console gives. */
export const unreachableCode = 'console-unreachable'
export const strangeAnswerCode = 'strange-answer'

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
type Query = Readonly<Record<string, string | number | boolean | undefined>>

let csrf: string | undefined

/** Every change carries the token of the session that `me` told. */
export const keepCsrfOf = (me: Me | null): void => {
  csrf = me?.csrf
}

/** The path of what concerns one vault, below `/api`. */
export const vaultPath = (vault: string, path: string): string => `/vaults/${encodeURIComponent(vault)}/v1${path}`

export function withQuery(path: string, query: Query): string {
  const given = Object.entries(query).flatMap(([key, value]) => (value === undefined ? [] : [[key, String(value)]]))
  return given.length === 0 ? path : `${path}?${new URLSearchParams(given)}`
}

/** The JSON of an answer; an ApiFailure if it is a refusal or there is none. */
export async function request<T>(method: Method, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  const answer = await send(method, path, body, signal)
  if (answer.status === 204) return undefined as T
  return (await bodyOf(answer)) as T
}

export const get = <T>(path: string, signal?: AbortSignal): Promise<T> => request<T>('GET', path, undefined, signal)

/** One JSON value a line, as the vault streams long lists; at most `limit`, what follows is not read. */
export async function getLines<T>(path: string, limit: number, signal?: AbortSignal): Promise<T[]> {
  const answer = await send('GET', path, undefined, signal)
  const rows: T[] = []
  let held = ''
  for await (const piece of textOf(answer)) {
    const lines = (held + piece).split('\n')
    held = lines.pop() ?? ''
    for (const line of lines) {
      if (line !== '') rows.push(JSON.parse(line) as T)
      if (rows.length >= limit) return rows
    }
  }
  if (held !== '') rows.push(JSON.parse(held) as T)
  return rows
}

/** Leaving the loop before the end gives up the rest of the answer. */
async function* textOf({ body }: Response): AsyncGenerator<string> {
  if (body === null) return
  const reader = body.pipeThrough(new TextDecoderStream()).getReader()
  try {
    for (let read = await reader.read(); !read.done; read = await reader.read()) yield read.value
  } finally {
    await reader.cancel()
  }
}

/** The bytes of a file. */
export async function getBytes(path: string, signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
  const answer = await send('GET', path, undefined, signal)
  return new Uint8Array(await answer.arrayBuffer())
}

async function send(method: Method, path: string, body: unknown, signal: AbortSignal | undefined): Promise<Response> {
  const headers: Record<string, string> = { accept: 'application/json' }
  if (body !== undefined) headers['content-type'] = 'application/json'
  if (method !== 'GET' && csrf !== undefined) headers['x-tidemark-csrf'] = csrf
  let answer: Response
  try {
    answer = await fetch(`/api${path}`, {
      method,
      headers,
      credentials: 'same-origin',
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      ...(signal === undefined ? {} : { signal }),
    })
  } catch (cause) {
    if (signal?.aborted === true) throw cause
    throw new ApiFailure(0, unreachableCode, cause instanceof Error ? cause.message : String(cause))
  }
  if (!answer.ok) throw await failureOf(answer)
  return answer
}

async function failureOf(answer: Response): Promise<ApiFailure> {
  const body = await bodyOf(answer)
  const error = (body as { error?: { code?: unknown; message?: unknown; hint?: unknown } } | undefined)?.error
  if (typeof error?.code !== 'string' || typeof error.message !== 'string')
    return new ApiFailure(answer.status, strangeAnswerCode, `HTTP ${answer.status}`)
  return new ApiFailure(
    answer.status,
    error.code,
    error.message,
    typeof error.hint === 'string' ? error.hint : undefined,
  )
}

async function bodyOf(answer: Response): Promise<unknown> {
  const text = await answer.text()
  try {
    return text === '' ? undefined : JSON.parse(text)
  } catch {
    throw new ApiFailure(answer.status, strangeAnswerCode, `HTTP ${answer.status}: ${text.slice(0, 200)}`)
  }
}
