// Compiles src/base/chunker/kernel.as into kernel.generated.ts, which is committed: users need no compiler.
//   node scripts/build-wasm.mjs           write it
//   node scripts/build-wasm.mjs --check   exit with 1 when the committed module is not what the source compiles to
import { readFileSync, writeFileSync } from 'node:fs'
import asc from 'assemblyscript/asc'

const source = new URL('../src/base/chunker/kernel.as', import.meta.url)
const target = new URL('../src/base/chunker/kernel.generated.ts', import.meta.url)

const compiled = await asc.compileString(readFileSync(source, 'utf8'), {
  optimizeLevel: 3,
  noAssert: true,
  runtime: 'stub',
  importMemory: true,
  noExportMemory: true,
  memoryBase: 2048, // keeps the gear table's bytes free
})
if (compiled.error !== null) throw new Error(`kernel.as does not compile:\n${compiled.stderr}`)

const text = `// Made from kernel.as by scripts/build-wasm.mjs; do not edit.
export const kernelBase64 =
  '${Buffer.from(compiled.binary).toString('base64')}'
`

if (process.argv.includes('--check')) {
  if (readFileSync(target, 'utf8') !== text) {
    console.error('kernel.generated.ts is not what kernel.as compiles to; run: node scripts/build-wasm.mjs')
    process.exitCode = 1
  }
} else {
  writeFileSync(target, text)
}
