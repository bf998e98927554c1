import assert from 'node:assert/strict'
import { test } from 'node:test'
import { z } from 'zod'
import { type User, user, userAnswer } from '../api/console.ts'
import { isCode } from '../base/errors.ts'
import { Browser, nameOf, testConsole } from '../../test/support/console-world.ts'

const byName = (name: string): string => `/api/users/${encodeURIComponent(name)}`

test('an account is made with a password told once, and works from its owner’s first change on', async (context) => {
  const console = await testConsole(context)
  const security = await console.signedIn('security-administrator')
  const { user: made, password } = userAnswer.parse(
    await security.done('POST', '/api/users', { body: { name: '王芳', role: 'operator' } }),
  )
  assert.ok(made.mustChangePassword && password !== undefined && password.length >= 20)
  const wang = new Browser(console.port)
  assert.equal((await wang.signIn('王芳', password)).mustChangePassword, true)
  await wang.done('POST', '/api/me/password', { body: { old: password, new: '一个足够长的密码吗123' } })
  assert.equal((await wang.ask('GET', '/api/vaults')).status, 200)
  const again = { body: { name: '王芳', role: 'viewer' } }
  assert.equal(await security.refused('POST', '/api/users', again), 'already-exists')
  const alike = { body: { name: 'THE-Viewer', role: 'viewer' } }
  assert.equal(await security.refused('POST', '/api/users', alike), 'already-exists')
})

test('another role, a new password and being disabled end what the account was doing', async (context) => {
  const console = await testConsole(context)
  const security = await console.signedIn('security-administrator')
  for (const body of [{ role: 'viewer' }, { resetPassword: true }, { enabled: false }]) {
    const name = `operator-${Object.keys(body)[0]}`
    const { password } = userAnswer.parse(
      await security.done('POST', '/api/users', { body: { name, role: 'operator' } }),
    )
    const browser = new Browser(console.port)
    await browser.signIn(name, password as string)
    await security.done('PATCH', byName(name), { body })
    assert.equal(await browser.refused('POST', '/api/sign-out'), 'sign-in-needed', name)
    const answer = await browser.ask('POST', '/api/sign-in', { body: { user: name, password } })
    assert.equal(answer.status === 200, 'role' in body, name)
  }
})

test('nobody changes his own account, and the last of each duty stays', async (context) => {
  const console = await testConsole(context)
  const security = await console.signedIn('security-administrator')
  const own = byName(nameOf('security-administrator'))
  for (const body of [{ role: 'operator' }, { enabled: false }, { resetPassword: true }, { resetTotp: true }]) {
    assert.equal(await security.refused('PATCH', own, { body }), 'not-allowed')
  }
  for (const duty of ['system-administrator', 'audit-administrator'] as const) {
    const path = byName(nameOf(duty))
    for (const body of [{ role: 'viewer' }, { enabled: false }]) {
      assert.equal(await security.refused('PATCH', path, { body }), 'not-allowed', duty)
    }
    await security.done('POST', '/api/users', { body: { name: `second-${duty}`, role: duty } })
    await security.done('PATCH', path, { body: { enabled: false } })
    assert.equal(await security.refused('PATCH', byName(`second-${duty}`), { body: { enabled: false } }), 'not-allowed')
  }
  const users = await security.read('/api/users', z.array(user))
  const enabled = (role: User['role']) => users.filter((one) => one.role === role && one.enabled).length
  assert.deepEqual([enabled('system-administrator'), enabled('security-administrator')], [1, 1])
})

test('two changes at once never leave a duty without an account', async (context) => {
  const console = await testConsole(context)
  const security = await console.signedIn('security-administrator')
  await security.done('POST', '/api/users', { body: { name: 'second', role: 'audit-administrator' } })
  const answers = await Promise.all(
    ['second', nameOf('audit-administrator')].map((name) =>
      security.ask('PATCH', byName(name), { body: { enabled: false, resetPassword: true } }),
    ),
  )
  assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 403])
})

test('whom the command line gives a new password is let in again, authenticator and lock-out or not', async (context) => {
  const console = await testConsole(context)
  const name = nameOf('security-administrator')
  const stranger = new Browser(console.port)
  for (let tries = 0; tries < 6; tries++) {
    await stranger.refused('POST', '/api/sign-in', { body: { user: name, password: 'wrong' } })
  }
  const { password } = await console.machine.json('PATCH', byName(name), userAnswer, {
    resetPassword: true,
    resetTotp: true,
  })
  await stranger.signIn(name, password as string)
})

test('a new password by another holds against who changes or uses the old one at that moment', async (context) => {
  const console = await testConsole(context)
  const { accounts } = console.started.context
  const name = nameOf('operator')
  const old = console.passwords.get('operator') as string
  // Which of the two hashes is made first is chance: again, until the other's password has come in between.
  const untilOvertaken = async (act: (password: string) => Promise<boolean>): Promise<void> => {
    for (let given = 1, isOvertaken = false; !isOvertaken; given++) {
      assert.ok(given < 200, 'what was begun before is never refused')
      await accounts.change(name, { password: `given-before-${given}` })
      const acting = act(`given-before-${given}`)
      await accounts.change(name, { password: `given-anew-${given}` })
      isOvertaken = !(await acting)
      assert.ok(await accounts.passwordMatches(name, `given-anew-${given}`))
      assert.ok(accounts.demand(name).mustChange)
    }
  }
  await untilOvertaken(() =>
    accounts.changeOwnPassword(name, 'taken-over-9-times').then(
      () => true,
      (error) => {
        assert.ok(isCode(error, 'sign-in-refused'), String(error))
        return false
      },
    ),
  )
  // What is slow of a sign-in has begun with what was right then.
  await untilOvertaken((password) => accounts.passwordMatches(name, password))
  assert.equal(await accounts.passwordMatches(name, old), false)
})
