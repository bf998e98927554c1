import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { z } from 'zod'
import type { Http } from '../../http/server.ts'
import { csrfHeader } from '../access.ts'
import type { Context } from '../context.ts'

/** Of the package @fastify/swagger-ui; its plugin itself knows only one document. */
const assets = join(dirname(createRequire(import.meta.url).resolve('@fastify/swagger-ui/package.json')), 'static')
const files = [
  'swagger-ui.css',
  'index.css',
  'swagger-ui-bundle.js',
  'swagger-ui-standalone-preset.js',
  'favicon-32x32.png',
] as const

/** Swagger UI sets styles by script, which this policy allows, and makes no style elements. */
const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "frame-ancestors 'none'",
  "base-uri 'none'",
  "form-action 'none'",
].join('; ')

/** The API's own description, and pages to browse it and that of each vault. */
export function documentRoutes(http: Http, { federation }: Context): void {
  http.get('/api/openapi.json', { config: { needs: 'signed-in' }, schema: { hide: true } }, async () => http.swagger())

  http.get('/api/docs', { config: { needs: 'signed-in' }, schema: { hide: true } }, async (_request, reply) =>
    reply.redirect('/api/docs/'),
  )
  http.get('/api/docs/', { config: { needs: 'signed-in' }, schema: { hide: true } }, async (_request, reply) =>
    reply.header('content-security-policy', policy).type('text/html; charset=utf-8').send(page),
  )
  http.get(
    '/api/docs/initializer.js',
    { config: { needs: 'signed-in' }, schema: { hide: true } },
    async (_request, reply) => {
      const documents = [
        { url: '/api/openapi.json', name: 'console' },
        ...federation.vaults.map(({ record: { id, name } }) => ({
          url: `/api/vaults/${id}/v1/openapi.json`,
          name: `vault ${name}`,
        })),
      ]
      return reply.type('text/javascript; charset=utf-8').send(initializer(documents))
    },
  )
  http.get(
    '/api/docs/:file',
    { config: { needs: 'signed-in' }, schema: { hide: true, params: z.object({ file: z.enum(files) }) } },
    async (request, reply) => reply.sendFile(request.params.file, assets),
  )
}

const page = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Tidemark API</title>
<link rel="stylesheet" href="/api/docs/swagger-ui.css">
<link rel="stylesheet" href="/api/docs/index.css">
<link rel="icon" href="/api/docs/favicon-32x32.png">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/api/docs/swagger-ui-bundle.js"></script>
<script src="/api/docs/swagger-ui-standalone-preset.js"></script>
<script src="/api/docs/initializer.js"></script>
</body>
</html>
`

/** "Try it out" works: with the session's word, and of a vault through the console. */
const initializer = (urls: readonly { url: string; name: string }[]): string => `
const me = fetch('/api/me').then((answer) => answer.json())
let ui
ui = SwaggerUIBundle({
  urls: ${JSON.stringify(urls)},
  dom_id: '#swagger-ui',
  deepLinking: true,
  presets: [SwaggerUIBundle.presets.apis, SwaggerUIStandalonePreset],
  layout: 'StandaloneLayout',
  validatorUrl: null,
  // Its picture has styles inside, which the policy does not let through.
  plugins: [() => ({ components: { Logo: () => null } })],
  requestInterceptor: async (request) => {
    const url = new URL(request.url, location.href)
    const vault = /^\\/api\\/vaults\\/[^/]+/.exec(new URL(ui?.getSystem().specSelectors.url() ?? '', location.href).pathname)
    if (vault && url.pathname.startsWith('/v1/')) request.url = vault[0] + url.pathname + url.search
    if (request.method && request.method !== 'GET') request.headers['${csrfHeader}'] = (await me).csrf
    return request
  },
})
`
