import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../src/base/clock.ts'
import { treePath } from '../src/model/path.ts'
import { restore } from '../src/recover/restore.ts'
import { directoryOrigin } from '../test/recovery/directory-origin.ts'

/**
 * What of a restore is the restore's own: many small files and one large one from a local origin, against `cp -a` of
 * the same tree, alternating. Both end with everything synced.
 *
 *   node bench/restore.ts [rounds] [small files] [large MiB]
 */
const [rounds = 3, smallFiles = 80_000, largeMiB = 1024] = process.argv.slice(2).map(Number)
const scratch = mkdtempSync(join(tmpdir(), 'tidemark-bench-'))
try {
  const source = join(scratch, 'source')
  plant(source)
  const origin = directoryOrigin(source, treePath('srv'))
  const manifest: Uint8Array[] = []
  for await (const piece of origin.manifest([])) manifest.push(piece)
  const ready = { ...origin, manifest: () => piecesOf(manifest) }
  for (let round = 1; round <= rounds; round++) {
    const copied = await timed(() =>
      execFileSync('sh', ['-c', `cp -a "${source}" "${scratch}/c${round}" && sync -f "${scratch}"`]),
    )
    const request = { source: 'bench', paths: [], target: join(scratch, `r${round}`), resume: false }
    const parts = { origin: ready, clock: systemClock, tell: () => {} }
    const restored = await timed(() => restore(request, parts, new AbortController().signal))
    console.log(
      `round ${round}: cp -a ${copied.text}; restore ${restored.text}; ratio ${(restored.ms / copied.ms).toFixed(2)}`,
    )
  }
} finally {
  rmSync(scratch, { recursive: true })
}

async function* piecesOf(pieces: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* pieces
}

async function timed(act: () => unknown): Promise<{ ms: number; text: string }> {
  const start = systemClock.monotonicMs()
  const before = process.cpuUsage()
  await act()
  const ms = systemClock.monotonicMs() - start
  const { user, system } = process.cpuUsage(before)
  return {
    ms,
    text: `${(ms / 1000).toFixed(2)} s (own user ${(user / 1e6).toFixed(1)}, system ${(system / 1e6).toFixed(1)})`,
  }
}

function plant(root: string): void {
  for (let file = 0; file < smallFiles; file++) {
    const folder = join(root, `${file % 97}`, `${Math.floor(file / 97) % 41}`)
    if (file < 97 * 41) mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, `${file}`), Buffer.alloc(500 + ((file * 7919) % 9000), file))
  }
  execFileSync('dd', ['if=/dev/urandom', `of=${join(root, 'large')}`, 'bs=1M', `count=${largeMiB}`, 'status=none'])
}
