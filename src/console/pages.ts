import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import fastifyStatic from '@fastify/static'
import type { FastifyReply } from 'fastify'
import { isSystemError, TidemarkError } from '../base/errors.ts'
import type { Random } from '../base/random.ts'
import type { Http } from '../http/server.ts'

/** Stands in web/dist/index.html wherever the nonce of the answer's policy belongs. */
const noncePlace = '__TIDEMARK_NONCE__'
const yearSeconds = 31_536_000

/**
 * What the pages may do: scripts of our own files alone; style elements that carry the answer's nonce, since Ant Design makes
 * them at run time; images from anywhere but another server.
 */
const pagePolicy = (nonce: string): string =>
  [
    "default-src 'none'",
    "script-src 'self'",
    `style-src 'self' 'nonce-${nonce}'`,
    "img-src 'self' data: blob:",
    "font-src 'self' data:",
    "connect-src 'self'",
    "worker-src 'self'",
    "manifest-src 'self'",
    "frame-ancestors 'none'",
    "base-uri 'none'",
    "form-action 'none'",
  ].join('; ')

/** The console in the browser. A path without a dot is a place inside it, told apart by its own script. */
export async function pageRoutes(http: Http, directory: string, random: Random): Promise<void> {
  await http.register(fastifyStatic, {
    root: directory,
    serve: false,
    index: false,
    cacheControl: false,
    // The build puts the compressed forms beside the files.
    preCompressed: true,
  })

  const sendIndex = async (reply: FastifyReply): Promise<FastifyReply> => {
    const nonce = Buffer.from(random.bytes(16)).toString('base64')
    const text = await readIndex(join(directory, 'index.html'))
    return reply
      .headers({ 'content-security-policy': pagePolicy(nonce), 'cache-control': 'no-store' })
      .type('text/html; charset=utf-8')
      .send(text.replaceAll(noncePlace, nonce))
  }

  http.get('/*', { config: { needs: 'open' }, schema: { hide: true } }, async (request, reply) => {
    const path = decodeURIComponent(request.url.split('?')[0] as string)
    if (path === '/api' || path.startsWith('/api/') || path.includes('..')) return reply.callNotFound()
    if (!path.includes('.')) return sendIndex(reply)
    const isNamedByContent = path.startsWith('/assets/')
    reply.header('cache-control', isNamedByContent ? `public, max-age=${yearSeconds}, immutable` : 'no-cache')
    // An SVG opened by itself, or an HTML file, may do nothing at all.
    return reply.sendFile(path)
  })
}

async function readIndex(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    if (!isSystemError(error, 'ENOENT')) throw error
    throw new TidemarkError('not-found', {
      message: 'the pages of the console are not built',
      hint: 'build them with "npm run build" in the checkout; the API below /api works without them',
      cause: error,
    })
  }
}
