import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { appendFileSync, chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { test } from 'node:test'
import { systemClock } from '../../src/base/clock.ts'
import { lackingPostgres, postgresFolder } from '../support/postgres-program.ts'
import { askRestored, stopRestored } from '../support/postgres-restored.ts'
import { Cluster } from '../support/postgres.ts'
import { ConsoleWorld, needsBrowser } from './console-harness.ts'
import { Process } from './harness.ts'

const major = 17

test(
  'in the browser: the first sign-in, a vault, a server, its protection, an accident, the moment before it, and everything as it was',
  { skip: needsBrowser || lackingPostgres(major), timeout: 900_000 },
  async (t) => {
    const [console, cluster] = await Promise.all([ConsoleWorld.begin(t), Cluster.create(t, { major })])
    const { world } = console

    // The first sign-in.
    const admin = await console.screen()
    const { page } = admin
    await admin.goto('/')
    const { name, password } = console.accountOf('system-administrator')
    await page.getByLabel(admin.t.signIn.user).fill(name)
    await page.getByLabel(admin.t.signIn.password, { exact: true }).fill(password)
    await admin.button(admin.t.signIn.enter).click()
    await page.getByRole('heading', { name: admin.t.signIn.changeTitle }).waitFor()
    const own = console.takesPassword('system-administrator')
    await page.getByLabel(admin.t.signIn.oldPassword).fill(password)
    await page.getByLabel(admin.t.signIn.newPassword, { exact: true }).fill(own)
    await page.getByLabel(admin.t.signIn.repeated).fill(own)
    await admin.button(admin.t.signIn.change).click()
    await page.getByRole('navigation', { name: admin.t.shell.navigation }).waitFor()

    // A vault.
    const vault = await console.vaultAddress()
    await admin.link(admin.t.shell.vaults).click()
    await admin.button(admin.t.vaults.add).click()
    const adding = page.getByRole('dialog', { name: admin.t.vaults.add })
    await adding.getByLabel(admin.t.vaults.url).fill(vault.url)
    await adding.getByLabel(admin.t.vaults.token).fill(vault.token)
    await admin.button(admin.t.vaults.add, adding).click()
    await admin.shows(admin.t.vaults.added('vault'))
    await admin.shows(vault.url)

    // A server, by the line that the page tells to paste.
    await admin.link(admin.t.shell.servers).click()
    await admin.button(admin.t.servers.enrol).first().click()
    const shown = page.getByText(/^TIDEMARK_TOKEN=\S+ tidemark agent join/)
    const line = (await shown.first().textContent()) ?? ''
    const [, token, address] = /^TIDEMARK_TOKEN=(\S+) tidemark agent join (\S+) && tidemark agent run$/.exec(line) ?? []
    assert.ok(token !== undefined && address !== undefined, line)
    const agentFolder = join(world.folder, 'web-1')
    await world.expect(['agent', 'join', address, '--name', 'web-1', '--dir', agentFolder], { TIDEMARK_TOKEN: token })
    const log = join(world.folder, 'web-1.log')
    const agent = new Process(['agent', 'run', '--dir', agentFolder], /reached/, log)
    world.atEnd(() => agent.kill())
    await agent.start({ PATH: `${join(postgresFolder(major), 'bin')}:${process.env['PATH']}` })
    await admin.shows(admin.t.servers.isThere('web-1'))

    // Its protection: a directory whose path is typed, and the PostgreSQL that is found.
    const documents = world.directory('documents')
    fill(documents)
    await cluster.sql('CREATE TABLE orders (n int PRIMARY KEY, what text)')
    await cluster.sql("INSERT INTO orders SELECT n, 'order ' || n FROM generate_series(1, 500) n")
    await admin.link(admin.t.servers.protect).click()
    const drawer = page.getByRole('dialog', { name: admin.t.servers.protectOf('web-1') })
    await drawer.getByLabel(admin.t.servers.typePath).fill(documents)
    await beginProtection('documents')
    await admin.button(admin.t.servers.close, drawer).last().click()
    await admin.button(admin.t.servers.protect).click()
    await drawer.getByRole('radio', { name: String(cluster.port) }).check()
    await beginProtection('orders')
    await admin.link(admin.t.servers.toSystem, drawer).click()

    async function beginProtection(source: string): Promise<void> {
      await admin.button(admin.t.servers.next, drawer).click()
      await drawer.getByLabel(admin.t.servers.sourceName).fill(source)
      await drawer.getByLabel(admin.t.servers.system).fill('registry')
      await admin.button(admin.t.servers.next, drawer).click()
      await admin.button(admin.t.servers.begin, drawer).click()
      await drawer.getByText(admin.t.servers.begun(source)).waitFor()
    }

    // The lag falls until both are protected.
    await page.getByRole('heading', { name: 'registry' }).waitFor()
    for (const source of ['documents', 'orders']) {
      const row = page.getByRole('row').filter({ hasText: source }).first()
      await row.getByText(admin.t.states.words.protected, { exact: true }).waitFor()
    }
    await admin.close()

    // What there is, as somebody else than Tidemark sees it; then the accident.
    await cluster.sql("UPDATE orders SET what = 'paid' WHERE n % 7 = 0")
    appendFileSync(join(documents, 'letter-3.txt'), 'and a last line\n')
    const rows = await cluster.sql('SELECT n, what FROM orders ORDER BY n')
    const files = contentOf(documents)
    await world.quietMoment('orders')
    const moment = await world.quietMoment('documents')
    await systemClock.sleep(20)
    rmSync(join(documents, 'archive'), { recursive: true })
    writeFileSync(join(documents, 'letter-1.txt'), 'encrypted')
    await cluster.sql('DROP TABLE orders')
    await world.quietMoment('documents')
    await world.quietMoment('orders')

    // The moment before it, on the timeline.
    const operator = await console.signedIn('operator')
    const { page: screen, t: texts } = operator
    await operator.goto('/systems/registry')
    const typed = moment.replace('T', ' ').replace('Z', '')
    await screen.getByLabel(texts.timeline.exactLabel).fill(typed)
    await screen.getByLabel(texts.timeline.exactLabel).press('Enter')
    await screen
      .getByRole('slider', { name: texts.timeline.label })
      .and(screen.locator('[aria-valuetext^="20"]'))
      .waitFor()
    await screen.getByRole('list', { name: texts.system.transactions }).getByRole('listitem').first().waitFor()
    await operator.button(texts.system.restore).click()

    // Back, into a directory of its own, which the user of the restored server may enter.
    chmodSync(world.folder, 0o755)
    const wizard = screen.getByRole('region', { name: texts.shell.restore })
    const server = wizard.getByRole('combobox')
    await server.press('ArrowDown')
    await server.press('Enter')
    const target = join(world.folder, 'restored')
    await wizard.getByLabel(texts.restore.directory).fill(target)
    await wizard.getByLabel(texts.restore.start).check()
    t.after(() => stopRestored(join(target, 'orders')))
    await operator.button(texts.restore.next, wizard).click()
    await operator.button(texts.restore.go('web-1'), wizard).click()
    await operator.shows(texts.tasks.verifiedAll)
    await operator.shows(texts.tasks.states.done)
    await operator.close()

    // As it was.
    assert.deepEqual(contentOf(join(target, 'documents', documents)), files)
    const orders = join(target, 'orders')
    // Its fourth and fifth line: the port, and the folder of the socket.
    const [, , , port, socketFolder] = readFileSync(join(orders, 'postmaster.pid'), 'utf8').split('\n')
    assert.ok(socketFolder !== undefined)
    const restored = await askRestored({ socketFolder, port: Number(port) }, 'SELECT n, what FROM orders ORDER BY n')
    assert.deepEqual(restored, rows)
  },
)

/** Every file below a folder with its bytes. */
const contentOf = (folder: string): Record<string, string> =>
  Object.fromEntries(
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ parentPath, name }) => join(parentPath, name))
      .sort()
      .map((path) => [relative(folder, path), readFileSync(path).toString('base64')]),
  )

function fill(folder: string): void {
  mkdirSync(join(folder, 'archive'))
  for (let one = 0; one < 20; one++) writeFileSync(join(folder, `letter-${one}.txt`), `letter ${one}\n`.repeat(50))
  writeFileSync(join(folder, 'archive/scan.bin'), randomBytes(300_000))
}
