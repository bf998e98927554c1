import react from '@vitejs/plugin-react'
import { defineConfig } from 'vite'

/** Where "vite" (development only) finds a running console. */
const console = process.env['TIDEMARK_CONSOLE'] ?? 'http://127.0.0.1:8750'

export default defineConfig({
  root: import.meta.dirname,
  plugins: [react()],
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
