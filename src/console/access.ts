import { isIP } from 'node:net'
import type { FastifyRequest } from 'fastify'
import type { Action, AuditAction, Role } from '../api/console.ts'
import { TidemarkError } from '../base/errors.ts'
import { machineActions } from './roles.ts'
import type { Session } from './sessions.ts'

/** Who asks. */
export type Asker =
  /** At the console's own socket. */
  | { readonly kind: 'machine' }
  | { readonly kind: 'stranger'; readonly address: string }
  | {
      readonly kind: 'user'
      readonly address: string
      readonly name: string
      readonly role: Role
      readonly mustChange: boolean
      readonly actions: readonly Action[]
      readonly session: Session
    }

/**
 * What a route asks of who calls it; each route names it. `open`: nothing. `own`: to be signed in, even with a password that
 * must be changed first. `signed-in`: any role. Else the action, which the role must have.
 */
export type Need = 'open' | 'own' | 'signed-in' | Action

declare module 'fastify' {
  interface FastifyContextConfig {
    needs?: Need
    /** Of a route that only reads, and is recorded all the same; what changes something always is. */
    isRecorded?: boolean
    /** For the audit log, before it is known whether it is allowed: what the address alone says. */
    tell?: (request: FastifyRequest) => FastifyRequest['told']
  }
  interface FastifyRequest {
    asker: Asker
    /** For the audit log: what was done to what. Set by the route as soon as it knows. */
    told: { action?: AuditAction; subject?: string; detail?: string; user?: string } | undefined
  }
}

export const csrfHeader = 'x-tidemark-csrf'

/** Throws what is answered to somebody who may not. */
export function demandAllowed(asker: Asker, needs: Need): void {
  if (needs === 'open') return
  if (asker.kind === 'stranger') {
    throw new TidemarkError('sign-in-needed', {
      message: 'nobody is signed in, or the session has ended',
      hint: 'sign in',
    })
  }
  if (asker.kind === 'machine') {
    if (needs === 'own') {
      throw new TidemarkError('not-allowed', {
        message: 'this is for somebody who is signed in',
        hint: 'sign in over HTTP at the address that "tidemark console run" prints',
      })
    }
  } else if (needs === 'own') return
  else if (asker.mustChange) {
    throw new TidemarkError('password-change-needed', {
      message: 'the password was set by somebody else',
      hint: 'take one of your own first',
    })
  }
  if (needs !== 'signed-in') demandAction(asker, needs)
}

export function demandAction(asker: Asker, action: Action): void {
  if (asker.kind === 'machine' && machineActions.includes(action)) return
  if (asker.kind === 'user' && asker.actions.includes(action)) return
  const who = asker.kind === 'user' ? `the role ${asker.role.replaceAll('-', ' ')}` : 'the command line'
  throw new TidemarkError('not-allowed', {
    message: `${who} may not do that`,
    hint: 'ask somebody whose duty it is',
  })
}

export const isChange = (method: string): boolean => !['GET', 'HEAD', 'OPTIONS'].includes(method)

/** A change comes from the console's own pages: a browser says from where, and only they know the session's word. */
export function demandOwnPages(request: FastifyRequest, isHttps: boolean): void {
  if (request.asker.kind === 'machine' || !isChange(request.method)) return
  const { origin, host } = request.headers
  if (origin !== `${isHttps ? 'https' : 'http'}://${host}`) {
    throw new TidemarkError('not-allowed', {
      message: `the request comes from ${origin ?? 'nowhere'}, not from the console's own pages`,
      hint: 'open the console in a window of its own; a script sends the header "Origin" with the console’s address',
    })
  }
  if (request.asker.kind === 'user' && request.headers[csrfHeader] !== request.asker.session.csrf) {
    throw new TidemarkError('not-allowed', {
      message: `the header ${csrfHeader} is not that of the session`,
      hint: 'load the page again; a script takes "csrf" of GET /api/me',
    })
  }
}

/**
 * The Host header must name this console: a page of the internet can point its own name at the console's address (DNS
 * rebinding), but that name is not one of ours, and an address is no name.
 */
export function demandOwnName(request: FastifyRequest, isOwn: (name: string) => boolean): void {
  if (request.asker.kind === 'machine') return
  const name = /^(?:\[([^\]]+)\]|([^:]+))(?::\d+)?$/.exec(request.headers.host ?? '')
  const host = (name?.[1] ?? name?.[2])?.toLowerCase()
  if (host !== undefined && (isIP(host) !== 0 || host === 'localhost' || isOwn(host))) return
  throw new TidemarkError('not-allowed', {
    message: `this console is not known as "${request.headers.host ?? ''}"`,
    hint: 'use its address, or start it with --name NAME',
  })
}
