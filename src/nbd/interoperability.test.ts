import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { test, type TestContext } from 'node:test'
import { newAuthority } from '../../test/support/certificates.ts'
import { memoryExport } from '../../test/support/memory-export.ts'
import { lackingProgram, runProgram, scratchFolder, startServer } from '../../test/support/nbd-programs.ts'
import { systemClock } from '../base/clock.ts'
import { NbdClient } from './client.ts'
import type { Export } from './export.ts'
import { listenTcp, listenUnix } from './listen.ts'

/** Programs that others wrote judge whether this is NBD. */

const serving = { clock: systemClock }
const mib = 1024 * 1024

async function serve(t: TestContext, ...exports: readonly Export[]) {
  const folder = scratchFolder(t)
  const path = `${folder}/nbd.sock`
  const listener = await listenUnix({ path }, exports, serving)
  t.after(() => listener[Symbol.asyncDispose]())
  return { folder, path, uri: (name = '') => `nbd+unix:///${name}?socket=${path}` }
}

/** Some data with long holes between. */
function sparse(memory: Buffer): void {
  for (let at = 0; at < memory.length; at += 3 * mib)
    for (let index = 0; index < 100_000 && at + index < memory.length; index++)
      memory[at + index] = (at / mib + index * 7) & 0xff
}

test('nbdinfo sees what is offered', { skip: lackingProgram('nbdinfo') }, async (t) => {
  const { uri } = await serve(
    t,
    memoryExport({ name: 'disk', bytes: 10 * mib, blockBytes: 512, hasFastZero: true }),
    memoryExport({ name: 'past', isReadOnly: true }),
  )
  const { exports } = JSON.parse(await runProgram('nbdinfo', '--json', '--list', uri())) as {
    exports: readonly Record<string, unknown>[]
  }
  const [disk, past] = ['disk', 'past'].map((name) => exports.find((one) => one['export-name'] === name))
  const wanted = {
    'description': 'in memory',
    'export-size': 10 * mib,
    'is_read_only': false,
    'can_df': true,
    'can_fast_zero': true,
    'can_flush': true,
    'can_fua': true,
    'can_multi_conn': true,
    'can_trim': true,
    'can_zero': true,
    'block_size_minimum': 512,
    'block_size_preferred': 4096,
    'block_size_maximum': 32 * mib,
    'contexts': ['base:allocation'],
  }
  assert.deepEqual(Object.fromEntries(Object.keys(wanted).map((key) => [key, disk?.[key]])), wanted)
  assert.equal(past?.['is_read_only'], true)
  assert.equal(past?.['can_trim'], false)
})

test('nbdinfo maps holes and data', { skip: lackingProgram('nbdinfo') }, async (t) => {
  const disk = memoryExport({ bytes: 10 * mib })
  disk.memory.fill(1, 4 * mib, 5 * mib)
  const { uri } = await serve(t, disk)
  const map = JSON.parse(await runProgram('nbdinfo', '--json', '--map', uri())) as readonly Record<string, unknown>[]
  assert.deepEqual(
    map.map(({ offset, length, type }) => [offset, length, type]),
    [
      [0, 4 * mib, 3],
      [4 * mib, mib, 0],
      [5 * mib, 5 * mib, 3],
    ],
  )
})

test(
  'nbdcopy copies out and in over several connections, and leaves out what is not there',
  { skip: lackingProgram('nbdcopy') },
  async (t) => {
    const disk = memoryExport({ name: 'disk', bytes: 40 * mib })
    const copy = memoryExport({ name: 'copy', bytes: 40 * mib, hasFastZero: true })
    sparse(disk.memory)
    const { folder, uri } = await serve(t, disk, copy)
    await runProgram('nbdcopy', uri('disk'), `${folder}/image`)
    assert.ok(readFileSync(`${folder}/image`).equals(disk.memory))
    const read = disk.taken.reduce((sum, { kind, bytes }) => sum + (kind === 'read' ? bytes : 0), 0)
    assert.ok(read < disk.bytes / 2, `${read} bytes were read`)
    copy.memory.fill(9)
    await runProgram('nbdcopy', '--flush', `${folder}/image`, uri('copy'))
    assert.ok(copy.memory.equals(disk.memory))
  },
)

test('qemu-img converts from it and compares with it', { skip: lackingProgram('qemu-img') }, async (t) => {
  const disk = memoryExport({ bytes: 40 * mib })
  sparse(disk.memory)
  const { folder, uri } = await serve(t, disk)
  await runProgram('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', uri(), `${folder}/image.qcow2`)
  await runProgram('qemu-img', 'compare', '-f', 'raw', uri(), `${folder}/image.qcow2`)
  disk.memory.fill(5)
  await runProgram('qemu-img', 'convert', '-n', '-f', 'qcow2', '-O', 'raw', `${folder}/image.qcow2`, uri())
  await runProgram('qemu-img', 'compare', '-f', 'raw', uri(), `${folder}/image.qcow2`)
})

test(
  'qemu-io writes, forces, zeroes, discards and reads back patterns',
  { skip: lackingProgram('qemu-io') },
  async (t) => {
    const disk = memoryExport({ bytes: 40 * mib, blockBytes: 512 })
    const { uri } = await serve(t, disk)
    const commands = [
      'aio_write -P 1 0 1M',
      'aio_write -P 2 3M 20M',
      'aio_flush',
      'write -f -P 3 512 1024',
      'write -z 4M 1M',
      'write -z -u 6M 64k',
      'discard 8M 1M',
      'flush',
      'read -P 1 0 512',
      'read -P 3 512 1024',
      'read -P 0 4M 1M',
      'read -P 0 6M 64k',
      'read -P 2 10M 13M',
    ]
    const said = await runProgram('qemu-io', '-f', 'raw', ...commands.flatMap((one) => ['-c', one]), uri())
    assert.doesNotMatch(said, /failed|error/i)
    assert.deepEqual([...disk.memory.subarray(510, 514)], [1, 1, 3, 3])
    assert.ok(disk.taken.some(({ kind }) => kind === 'flush'))
    assert.ok(disk.taken.some(({ kind }) => kind === 'trim'))
    assert.ok(disk.taken.some(({ kind }) => kind === 'zero'))
  },
)

test(
  'fio finds every block it wrote, many at a time over several connections',
  { skip: lackingProgram('fio') },
  async (t) => {
    const disk = memoryExport({ bytes: 32 * mib })
    const { folder, uri } = await serve(t, disk)
    for (const sizes of ['4k', '512-128k'])
      await runProgram(
        'fio',
        '--name=verified',
        '--ioengine=nbd',
        `--uri=${uri()}`,
        '--rw=randwrite',
        `--${sizes.includes('-') ? 'bsrange' : 'bs'}=${sizes}`,
        '--size=32m',
        '--iodepth=32',
        '--verify=crc32c',
        '--verify_fatal=1',
        '--do_verify=1',
        `--aux-path=${folder}`,
        '--verify_state_save=0',
      )
    assert.ok(disk.taken.length > 8192)
  },
)

test(
  'libnbd is served over TLS, and turned away without a certificate',
  { skip: lackingProgram('nbdinfo') },
  async (t) => {
    const authority = await newAuthority()
    const server = await authority.sign('server', [{ type: 'dns', value: 'localhost' }])
    const client = await authority.sign('client', [])
    const listener = await listenTcp({ host: '127.0.0.1', port: 0 }, [memoryExport({ bytes: 10 * mib })], {
      ...serving,
      tls: { key: server.key, certificate: server.certificate, authority: authority.certificate },
    })
    t.after(() => listener[Symbol.asyncDispose]())
    const folder = scratchFolder(t)
    for (const [name, shown] of [
      ['known', client],
      ['unknown', undefined],
    ] as const) {
      mkdirSync(`${folder}/${name}`)
      writeFileSync(`${folder}/${name}/ca-cert.pem`, authority.certificate)
      if (shown === undefined) continue
      writeFileSync(`${folder}/${name}/client-cert.pem`, shown.certificate)
      writeFileSync(`${folder}/${name}/client-key.pem`, shown.key)
    }
    const uri = (name: string): string => `nbds://localhost:${listener.port}/?tls-certificates=${folder}/${name}`
    assert.equal(Number(await runProgram('nbdinfo', '--size', uri('known'))), 10 * mib)
    await assert.rejects(runProgram('nbdinfo', '--size', uri('unknown')))
    await assert.rejects(runProgram('nbdinfo', '--size', `nbd://localhost:${listener.port}/`))
  },
)

test('nbdkit passes it on', { skip: lackingProgram('nbdkit') || lackingProgram('nbdcopy') }, async (t) => {
  const disk = memoryExport({ bytes: 20 * mib })
  sparse(disk.memory)
  const { folder, path } = await serve(t, disk)
  const passed = `${folder}/passed.sock`
  await startServer(t, 'nbdkit', passed, ['-f', '-U', passed, 'nbd', `socket=${path}`])
  await using client = await NbdClient.connect({ at: { path: passed }, hasAllocation: true }, t.signal)
  assert.ok((await client.read(0, disk.bytes)).equals(disk.memory))
  await client.write(123_456, Buffer.alloc(300_000, 7), { isForced: true })
  await client.zero(0, 8192)
  await client.flush()
  assert.ok((await client.read(0, disk.bytes)).equals(disk.memory))
})

const servers = [
  ['nbdkit', (path: string) => ['-f', '-U', path, 'memory', '20M']],
  ['qemu-nbd', (path: string) => ['-t', '-f', 'raw', '-k', path, '--discard=unmap', `${path}.image`]],
] as const

for (const [program, args] of servers) {
  test(`our client is understood by ${program}`, { skip: lackingProgram(program) }, async (t) => {
    const path = `${scratchFolder(t)}/foreign.sock`
    writeFileSync(`${path}.image`, Buffer.alloc(20 * mib))
    await startServer(t, program, path, args(path))
    for (const isStructured of [true, false]) {
      await using client = await NbdClient.connect({ at: { path }, isStructured, hasAllocation: true }, t.signal)
      assert.equal(client.bytes, 20 * mib)
      const model = Buffer.alloc(client.bytes)
      await client.zero(0, client.bytes)
      await Promise.all(
        Array.from({ length: 200 }, (_, index) => {
          const at = index * 100_000
          model.fill(index + 1, at, at + 50_000)
          return client.write(at, Buffer.alloc(50_000, index + 1), { isForced: index % 50 === 0 })
        }),
      )
      model.fill(0, 300_000, 400_000)
      await client.zero(300_000, 100_000)
      await client.flush()
      assert.ok((await client.read(0, client.bytes)).equals(model))
      const extents = await client.blockStatus(0, client.bytes)
      assert.equal(extents[0]?.at, 0)
      if (isStructured) assert.equal(extents[0]?.is, 'data')
    }
  })
}
