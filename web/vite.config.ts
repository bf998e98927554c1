import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'
import react from '@vitejs/plugin-react'
import { defineConfig, type Plugin } from 'vite'

/** Where "vite" (development only) finds a running console. */
const console = process.env['TIDEMARK_CONSOLE'] ?? 'http://127.0.0.1:7435'

/** The highest, 11, takes ten times as long for a fourteenth less. */
const brotliQuality = 9

export default defineConfig({
  root: import.meta.dirname,
  plugins: [react(), compressed()],
  // The console replaces this text by the nonce of each answer.
  html: { cspNonce: '__TIDEMARK_NONCE__' },
  build: {
    outDir: 'dist',
    emptyOutDir: true,
    manifest: true,
    target: 'es2023',
    // What is inlined as "data:" the content security policy would have to allow.
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 1500,
  },
  server: { proxy: { '/api': { target: console, changeOrigin: true, secure: false } } },
})

/** Beside each asset the same compressed, which the console sends to browsers that take it. */
function compressed(): Plugin {
  return {
    name: 'compressed',
    apply: 'build',
    writeBundle: ({ dir }) => {
      const assets = join(dir as string, 'assets')
      for (const name of readdirSync(assets)) {
        if (!/\.(?:js|css|svg)$/.test(name)) continue
        const bytes = readFileSync(join(assets, name))
        writeFileSync(
          join(assets, `${name}.br`),
          brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: brotliQuality } }),
        )
        writeFileSync(join(assets, `${name}.gz`), gzipSync(bytes))
      }
    },
  }
}
