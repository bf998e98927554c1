import { TreeGenerator } from './tree-generator.ts'

/**
 * A user in a process of its own, so that it and what watches it really run at the same time:
 *   node test/tree-user.ts <directory> <seed> [--no-hard-links]
 * For each message with a count it does that many things, then answers with what it did.
 */
const [top = '', seed = '1', option] = process.argv.slice(2)
const generator = new TreeGenerator(top, Number(seed), { hardLinks: option !== '--no-hard-links' })

process.on('message', (count: number) => {
  const from = generator.done.length
  generator.work(count)
  process.send?.(generator.done.slice(from))
})
process.send?.('ready')
