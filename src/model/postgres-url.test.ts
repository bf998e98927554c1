import assert from 'node:assert/strict'
import { test } from 'node:test'
import { holdsPassword, withoutPassword } from './postgres-url.ts'

test('a password is seen wherever it stands in a URL, also one that is written wrongly', () => {
  for (const url of [
    'postgres://li:geheim@db/shop',
    'postgresql://:geheim@db',
    'postgres://li:ge@heim@db/shop',
    'postgres://li:ge/heim@db:5432/shop',
    'postgres://li:geheim%40@a:5432,b:5432/shop?sslmode=require',
    'postgres://db/shop?sslmode=require&password=geheim',
    'postgres://db/shop?sslpassword=geheim&user=li',
    'postgres://db/?PASSWD=geheim',
  ]) {
    assert.ok(holdsPassword(url), url)
    assert.ok(!/ge.?heim|heim/.test(withoutPassword(url)), withoutPassword(url))
  }
})

test('what is no password stays', () => {
  for (const url of [
    'postgres://li@db/shop',
    'postgres://li@a:5432,b:5433/shop?sslmode=verify-full&sslrootcert=/etc/ssl/ca.pem&passfile=/root/.pgpass',
    'postgres:///shop?host=/var/run/postgresql&port=5433',
    'postgres://[::1]:5432/shop',
    'postgres://db:5432/shop?application_name=li@office',
  ]) {
    assert.equal(withoutPassword(url), url)
    assert.equal(holdsPassword(url), false, url)
  }
})

test('a text that is made to be looked at for ever is not', () => {
  for (const part of ['://:', '://', '?pass', '://:@?']) {
    const text = part.repeat(20_000)
    assert.equal(withoutPassword(text).length > 0, true)
  }
})
