import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { type TestContext, test } from 'node:test'
import { Browser } from '../support/console-world.ts'
import { z } from 'zod'
import { auditRecord, user, userAnswer } from '../../src/api/console.ts'
import { startConsole } from '../../src/console/run.ts'
import { systemClock } from '../../src/base/clock.ts'
import { systemRandom } from '../../src/base/random.ts'
import { exitStatus } from '../../src/cli/parts.ts'

const main = join(import.meta.dirname, '../../src/main.ts')

interface Done {
  readonly status: number
  readonly out: string
  readonly err: string
}

function home(context: TestContext): { directory: string; run: (...words: string[]) => Promise<Done> } {
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-console-cli-'))
  context.after(() => rmSync(directory, { recursive: true }))
  const env = { ...process.env, TIDEMARK_HOME: directory }
  return {
    directory,
    run: (...words) =>
      new Promise((resolve) => {
        const done = execFile(process.execPath, [main, 'console', ...words], { env }, (_error, out, err) =>
          resolve({ status: done.exitCode ?? -1, out, err }),
        )
      }),
  }
}

const lines = <T>(text: string, schema: z.ZodType<T>): T[] =>
  text
    .trim()
    .split('\n')
    .map((line) => schema.parse(JSON.parse(line)))

test('a console is made once, with an account of each duty, and is steered while none runs', async (context) => {
  const { run } = home(context)
  const made = await run('init', '--user', '王芳:system-administrator', '--user', 'li:operator')
  assert.equal(made.status, exitStatus.done, made.err)
  assert.match(made.out, /王芳 +system-administrator +[a-z2-9]{5}-/)
  const again = await run('init')
  assert.equal(again.status, exitStatus.failed)
  assert.match(again.err, /there is a console .* already/)
  assert.deepEqual(
    lines((await run('users', '--json')).out, user).map(({ name, role }) => [name, role]),
    [
      ['王芳', 'system-administrator'],
      ['secadmin', 'security-administrator'],
      ['auditadmin', 'audit-administrator'],
      ['li', 'operator'],
    ],
  )
  const reset = lines((await run('user', 'li', '--reset-password', '--json')).out, userAnswer)[0]
  assert.ok(reset?.password !== undefined && reset.user.mustChangePassword)
  const last = await run('user', 'secadmin', '--disable')
  assert.equal(last.status, exitStatus.failed)
  assert.match(last.err, /is the last security administrator/)
  assert.equal((await run('user', 'li')).status, exitStatus.usage)
  assert.equal((await run('init', '--user', 'li:king')).status, exitStatus.usage)
})

test('the audit log is told, exported and proved, and a change of it is found with its own exit status', async (context) => {
  const { directory, run } = home(context)
  await run('init')
  await run('user', 'chen', '--add', 'viewer')
  assert.match((await run('audit', '--verify')).out, /^intact: 4 records, the last with the hash\n {2}[0-9a-f]{64}\n$/)
  const [newest] = lines((await run('audit', '--json', '--text', 'chen')).out, auditRecord)
  assert.deepEqual([newest?.address, newest?.action, newest?.detail], ['console', 'users', 'make as viewer'])
  assert.match((await run('audit', '--export', 'csv')).out, /\r\n4,.*,chen,done,make as viewer,[0-9a-f]{64}\r\n/)
  const database = new DatabaseSync(join(directory, 'console', 'console.sqlite'))
  database.exec("UPDATE audit SET subject = 'nobody' WHERE number = 4")
  database.close()
  const broken = await run('audit', '--verify')
  assert.equal(broken.status, exitStatus.notVerified)
  assert.match(broken.err, /broken at record 4/)
})

test('the commands speak to the console that runs, and what they change ends sessions at once', async (context) => {
  const { directory, run } = home(context)
  const told = z.object({
    directory: z.string(),
    accounts: z.array(z.object({ name: z.string(), password: z.string() })),
  })
  const [made] = lines((await run('init', '--json')).out, told)
  const parts = { clock: systemClock, random: systemRandom, tell: () => undefined }
  const listen = { host: '127.0.0.1', port: 0 }
  const request = { directory: made!.directory, listen, pages: directory, names: [] }
  await using running = await startConsole(request, parts)
  const browser = new Browser(running.port as number)
  const { name, password } = made!.accounts.find((account) => account.name === 'auditadmin')!
  await browser.signIn(name, password)
  const { status, err } = await run('user', name, '--reset-password')
  assert.equal(status, exitStatus.done, err)
  assert.equal(await browser.done('GET', '/api/me'), null)
})

test('where there is no console the command says how to make one', async (context) => {
  const { run } = home(context)
  for (const words of [['users'], ['run'], ['audit', '--verify']]) {
    const { status, err } = await run(...words)
    assert.equal(status, exitStatus.failed)
    assert.match(err, /there is no console in .*\n {2}next: create one with "tidemark console init"/)
  }
})
