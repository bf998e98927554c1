import assert from 'node:assert/strict'
import http from 'node:http'
import { systemClock } from '../../src/base/clock.ts'

export interface Answer {
  readonly status: number
  readonly type: string | undefined
  readonly text: string
}

/** What a watcher is answered, over TCP or at a socket. */
export const ask = (door: http.RequestOptions, path: string, method = 'GET'): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const request = http.request({ ...door, path, method, agent: false }, (response) => {
      let text = ''
      response.on('data', (bytes: Buffer) => (text += bytes.toString()))
      response.on('end', () =>
        resolve({ status: response.statusCode as number, type: response.headers['content-type'], text }),
      )
    })
    request.on('error', reject).end()
  })

const waitMsMax = 120_000

export async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  const endMs = systemClock.monotonicMs() + waitMsMax
  while (!(await holds())) {
    assert.ok(systemClock.monotonicMs() < endMs, `waited in vain until ${what}`)
    await systemClock.sleep(50)
  }
}
