import assert from 'node:assert/strict'
import { test } from 'node:test'
import { makeHttpServer, requestMsMax } from './server.ts'

test('no server waits without end for who sends a request slowly, be it the head or the body', async (context) => {
  const http = await makeHttpServer({ title: 't', description: 'd', version: '1', document: '/d' })
  context.after(() => http.close())
  // Looked at every 30 s, by Node.js itself.
  assert.equal(http.server.requestTimeout, requestMsMax)
  assert.ok(http.server.headersTimeout > 0 && http.server.headersTimeout <= requestMsMax)
})
