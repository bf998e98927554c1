import assert from 'node:assert/strict'
import { test } from 'node:test'
import { cString, libcFunction } from './libc.ts'
import { SystemCallError, unlessFailedWith } from './system-call-error.ts'

test('a failed call throws an error shaped like those of node:fs, naming what was attempted on what', () => {
  const rmdir = libcFunction('rmdir', 'int', ['bytes'])
  const path = Buffer.from('/absent/é').toString('latin1')
  assert.throws(
    () => rmdir([cString(path)], path),
    (error) => {
      assert.ok(error instanceof SystemCallError)
      assert.equal(error.code, 'ENOENT')
      assert.equal(error.errno, -2)
      assert.equal(error.syscall, 'rmdir')
      assert.equal(error.path, path)
      assert.equal(error.message, "ENOENT: no such file or directory, rmdir '/absent/é'")
      return true
    },
  )
})

test('the codes that share a number carry the name node:fs gives them', () => {
  assert.equal(new SystemCallError(11, 'read').code, 'EAGAIN')
  assert.equal(new SystemCallError(95, 'lgetxattr').code, 'ENOTSUP')
})

test('a name with a NUL byte never reaches the system cut short', () => {
  assert.throws(() => cString('a\0b'), TypeError)
  assert.deepEqual(cString('\xff'), Buffer.from([0xff, 0]))
})

test('an expected failure becomes an answer and any other stays a failure', () => {
  const fail = (code: string) => () => {
    throw Object.assign(new Error(code), { code })
  }
  assert.equal(unlessFailedWith(['EAGAIN'], 'nothing', fail('EAGAIN')), 'nothing')
  assert.throws(() => unlessFailedWith(['EAGAIN'], 'nothing', fail('EIO')), /EIO/)
})

test('importing the door loads no foreign code', async () => {
  const { execFileSync } = await import('node:child_process')
  const door = new URL('./fanotify.ts', import.meta.url).href
  const program = `await import(${JSON.stringify(door)}); console.log(process.report.getReport().sharedObjects.filter((name) => name.includes('koffi')).length)`
  assert.equal(execFileSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8' }).trim(), '0')
})
