import { Chance } from './chance.ts'
import { randomLooking } from './database-pages.ts'

const theme = randomLooking(99, 7168)

/** A file as an office writes it: a zip archive of parts that are compressed already, one of them the same in all. */
export function officeDocument(seed: number): Buffer {
  const chance = new Chance(seed)
  const body = Math.min(8_000_000, 20_000 + chance.logNormal(190_000, 0.85))
  return Buffer.concat([
    part('[Content_Types].xml', randomLooking(7, 360)),
    part('word/theme/theme1.xml', theme),
    part('word/document.xml', randomLooking(seed, body)),
  ])
}

function part(name: string, deflated: Buffer): Buffer {
  const header = Buffer.alloc(30)
  header.write('PK\x03\x04', 'latin1')
  header.writeUInt16LE(20, 4)
  header.writeUInt16LE(8, 8)
  header.writeUInt32LE(deflated.length, 18)
  header.writeUInt32LE(deflated.length * 4, 22)
  header.writeUInt16LE(name.length, 26)
  return Buffer.concat([header, Buffer.from(name), deflated])
}
