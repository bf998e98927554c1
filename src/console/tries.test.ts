import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ForwardClock } from '../../test/support/console-world.ts'
import { Tries } from './tries.ts'

const mayTry = (tries: Tries, account: string, address: string): boolean => {
  try {
    tries.begin(account, address).uncounted()
    return true
  } catch {
    return false
  }
}

const fail = (tries: Tries, account: string, address: string, times: number): void => {
  for (let time = 0; time < times; time++) tries.begin(account, address)
}

test('who guesses at an account from elsewhere does not keep its owner out where he has signed in before', () => {
  const tries = new Tries(new ForwardClock())
  tries.begin('li', '10.0.0.7').succeeded()
  fail(tries, 'li', '10.0.0.66', 5)
  assert.ok(!mayTry(tries, 'li', '10.0.0.66'))
  assert.ok(!mayTry(tries, 'li', '10.0.0.67'))
  assert.ok(mayTry(tries, 'li', '10.0.0.7'))
  tries.begin('li', '10.0.0.7').succeeded()
  assert.ok(!mayTry(tries, 'li', '10.0.0.67'), 'that he has signed in gives no more guesses to others')
  fail(tries, 'li', '10.0.0.7', 5)
  assert.ok(!mayTry(tries, 'li', '10.0.0.7'), 'who sits at his place guesses no longer than others')
  tries.forget('li')
  assert.ok(mayTry(tries, 'li', '10.0.0.7') && mayTry(tries, 'li', '10.0.0.67'))
})

test('the addresses that one IPv6 network gives out count as one', () => {
  const tries = new Tries(new ForwardClock())
  for (let at = 0; at < 20; at++) fail(tries, `name-${at}`, `2001:db8:0:7:${at.toString(16)}::1`, 1)
  for (const same of ['2001:db8:0:7::2', '2001:DB8::7:8:0:0:1', '2001:db8:0:7:1:2:3:4%eth0']) {
    assert.ok(!mayTry(tries, 'wang', same), same)
  }
  for (const other of ['2001:db8:0:8::2', '2001:db8::1', '::1', '10.0.0.7', 'unknown']) {
    assert.ok(mayTry(tries, 'wang', other), other)
  }
})
