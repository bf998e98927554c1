import assert from 'node:assert/strict'
import { createSecretKey } from 'node:crypto'
import { test } from 'node:test'
import { isCode } from '../base/errors.ts'
import { systemRandom } from '../base/random.ts'
import { generatePassword, Passwords } from './passwords.ts'
import { Sealing } from './sealing.ts'

test('a hash is as costly as decided, and fits its password alone, however that was typed', async () => {
  const passwords = new Passwords(systemRandom)
  const hash = await passwords.hash('Ångström in Köln')
  assert.match(hash, /^scrypt\$17\$8\$1\$[\w-]{22}\$[\w-]{43}$/)
  assert.ok(await passwords.matches('Ångström in Köln'.normalize('NFD'), hash))
  assert.ok(!(await passwords.matches('Angstrom in Koln', hash)))
  assert.notEqual(await passwords.hash('Ångström in Köln'), hash)
})

test('where there is no account the same work is done, and the answer is no', async () => {
  assert.equal(await new Passwords(systemRandom, 4).matches('anything', undefined), false)
})

test('a flood of sign-ins waits in a line that ends', async () => {
  const passwords = new Passwords(systemRandom, 10)
  const all = await Promise.allSettled(Array.from({ length: 60 }, () => passwords.matches('x', undefined)))
  const refused = all.filter(({ status }) => status === 'rejected')
  assert.equal(refused.length, 60 - 2 - 32)
  assert.ok(refused.every((one) => one.status === 'rejected' && isCode(one.reason, 'busy')))
  assert.equal(await passwords.matches('x', undefined), false)
})

test('passwords that are made up are long, legible and never alike', () => {
  const made = Array.from({ length: 200 }, () => generatePassword(systemRandom))
  assert.equal(new Set(made).size, 200)
  for (const one of made) assert.match(one, /^([a-hjkmnp-z2-9]{5}-){3}[a-hjkmnp-z2-9]{5}$/)
})

test('a sealed secret opens with its key and in its place alone', () => {
  const key = () => createSecretKey(Buffer.from(systemRandom.bytes(32)))
  const sealing = new Sealing(key(), systemRandom)
  const sealed = sealing.seal('密钥', 'authenticator secret of li')
  assert.equal(sealing.open(sealed, 'authenticator secret of li'), '密钥')
  const refused = (error: unknown) => isCode(error, 'key-refused')
  assert.throws(() => sealing.open(sealed, 'authenticator secret of wang'), refused)
  assert.throws(() => new Sealing(key(), systemRandom).open(sealed, 'authenticator secret of li'), refused)
  assert.throws(() => sealing.open(sealed.with(20, (sealed[20] as number) ^ 1), 'authenticator secret of li'), refused)
  assert.throws(() => sealing.open(sealed.subarray(0, 5), 'authenticator secret of li'), refused)
})
