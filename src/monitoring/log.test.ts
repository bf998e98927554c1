import assert from 'node:assert/strict'
import { test } from 'node:test'
import { TidemarkError } from '../base/errors.ts'
import { batchName } from '../base/tell.ts'
import { type Log, type LogFormat, type LogLevel, openLog } from './log.ts'

function opened(format: LogFormat, level: LogLevel): { log: Log; written: string[] } {
  const written: string[] = []
  return { log: openLog({ process: 'vault', format, level }, (text) => void written.push(text)), written }
}

const full = new TidemarkError('vault-full', { message: 'no room', hint: 'make room' })

test('people are told the lines as they are', () => {
  const { log, written } = opened('text', 'info')
  log.tell('protecting documents', { source: 'a' })
  log.tell('no line to the vault: no room', { error: full })
  assert.deepEqual(written, ['protecting documents\n', 'no line to the vault: no room\n'])
})

test('programs are told an object a line, with the code of an error and the next step', () => {
  const { log, written } = opened('json', 'info')
  log.tell('no line to the vault: no room', { level: 'warn', source: 'a', agent: 'web-1', error: full })
  assert.equal(written.length, 1)
  const { time, ...rest } = JSON.parse(written[0] ?? '') as Record<string, string>
  assert.ok(Math.abs(Date.parse(time ?? '') - Date.now()) < 3_600_000)
  assert.deepEqual(rest, {
    level: 'warn',
    process: 'vault',
    message: 'no line to the vault: no room',
    source: 'a',
    agent: 'web-1',
    code: 'vault-full',
    hint: 'make room',
  })
})

test('a failure is an error unless it is said otherwise, and less than the level is not told', () => {
  for (const format of ['text', 'json'] as const) {
    const { log, written } = opened(format, 'error')
    log.tell('begun')
    log.tell('no line', { level: 'warn', error: full })
    log.tell('failed', { error: full })
    assert.equal(written.length, 1, format)
    assert.match(written[0] ?? '', /failed/)
  }
})

test('what is beside the code and the hint of an error, its cause with it, does not get into the log', () => {
  const { log, written } = opened('json', 'debug')
  const cause = Object.assign(new Error('refused'), { password: 'geheim', config: { token: 'geheim' } })
  log.tell('refused', { error: new TidemarkError('unreachable', { message: 'refused', cause }) })
  log.tell('a fault', { error: cause })
  assert.ok(!written.join('').includes('geheim'), written.join(''))
})

test('batches are told at level debug alone, and nobody can be asked to tell them at another', () => {
  const told = { batch: batchName('a', 15), source: 'a', first: 15, last: 17, bytes: 99, durable: 'later' }
  for (const format of ['text', 'json'] as const) {
    assert.equal(opened(format, 'info').log.tellBatch, undefined)
    const { log, written } = opened(format, 'debug')
    log.tellBatch?.(told)
    assert.match(written[0] ?? '', /a:15.*17.*99.*later/)
  }
})
