import assert from 'node:assert/strict'
import { closeSync, openSync, readdirSync, readFileSync, truncateSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { recordHeaderBytes, recordMagic } from '../../src/format/volume-log.ts'
import { keptGroup } from '../support/volume-server-process.ts'
import { beginVolume, contentAt, holesOf, type VolumeScene } from './volume-scene.ts'

const seed = Number(process.env['TIDEMARK_SEED'] ?? 20_261_128)
const bytes = 2 * 1024 * 1024
const payloadAt = 48

interface Tail {
  readonly file: string
  readonly content: Buffer
  /** Where the last record ends. */
  readonly end: number
}

/** Of the newest segment that has a record. */
function tailOf({ server }: VolumeScene): Tail {
  const names = readdirSync(server.folder.log).filter((name) => name.endsWith('.log'))
  for (const name of names.sort().reverse()) {
    const file = join(server.folder.log, name)
    const content = readFileSync(file)
    const last = content.lastIndexOf(recordMagic)
    if (last < 0) continue
    return { file, content, end: last + recordHeaderBytes + content.readUInt32BE(last + payloadAt) }
  }
  assert.fail('the log has a record')
}

/** What a power cut may leave of a record that nobody was told of. */
const tears: Record<string, (tail: Tail, scene: VolumeScene) => void> = {
  'any bytes': (tail, { random }) => put(tail, random.bytes(3000)),
  'half of a record': (tail) => put(tail, half(tail)),
  'half of a record, and the end of the file': (tail) => {
    put(tail, half(tail))
    truncateSync(tail.file, tail.end + half(tail).length)
  },
  'nothing, and the end of the file': (tail) => truncateSync(tail.file, tail.end),
}

function put({ file, end }: Tail, data: Uint8Array): void {
  const fd = openSync(file, 'r+')
  writeSync(fd, data, 0, data.length, end)
  closeSync(fd)
}

/** The next one's header, and less than it says of the payload. */
function half({ content }: Tail): Buffer {
  const first = content.indexOf(recordMagic)
  return content.subarray(first, first + recordHeaderBytes + 100)
}

test(
  'whatever torn record stands at the end of the log of a volume, all before it is there, and it goes on from there',
  { timeout: 900_000 },
  async (t) => {
    const scene = await beginVolume(t, { seed, bytes })
    const { world, agent, server, load } = scene
    for (const [what, tear] of Object.entries(tears)) {
      await load.answers(40)
      await load.pause()
      load.keepAway()
      await agent.process.kill()
      await server.kill()
      tear(tailOf(scene), scene)
      await agent.process.start(keptGroup)
      load.assertSame(await load.read(), what)
      load.letIn()
      load.resume()
    }
    await load.answers(40)
    await load.pause()
    const at = await world.quietMoment('disk')
    load.assertSame(await contentAt(scene, at), 'the volume at the vault')
    assert.deepEqual(await holesOf(scene), [])
  },
)
