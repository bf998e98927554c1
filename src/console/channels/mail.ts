import { createTransport } from 'nodemailer'
import type { Clock } from '../../base/clock.ts'
import { messageOf, TidemarkError } from '../../base/errors.ts'
import type { Message } from './message.ts'
import { failureOf } from './post.ts'

export interface Mailbox {
  readonly host: string
  readonly port: number
  readonly tls: 'implicit' | 'starttls' | 'none'
  readonly user?: string | undefined
  readonly password?: string | undefined
  readonly from: string
  readonly to: readonly string[]
  readonly authority?: string | undefined
}

const waitMsMax = 10_000
export const mailMsMax = 30_000

/** Resolves once the server has taken the message for all receivers. */
export async function sendMail(mailbox: Mailbox, message: Message, clock: Clock, signal: AbortSignal): Promise<void> {
  const { host, port, tls, user, password, from, to, authority } = mailbox
  using transport = closing(
    createTransport({
      host,
      port,
      secure: tls === 'implicit',
      requireTLS: tls === 'starttls',
      ignoreTLS: tls === 'none',
      ...(user === undefined ? {} : { auth: { user, pass: password ?? '' } }),
      tls: { minVersion: 'TLSv1.2', ...(authority === undefined ? {} : { ca: authority }) },
      connectionTimeout: waitMsMax,
      greetingTimeout: waitMsMax,
      socketTimeout: waitMsMax,
      disableFileAccess: true,
      disableUrlAccess: true,
    }),
  )
  const inside = new AbortController()
  const late = clock.sleep(mailMsMax, AbortSignal.any([signal, inside.signal])).then(() => {
    throw new TidemarkError('unreachable', {
      message: `${host}:${port} did not take the message within ${mailMsMax / 1000} s`,
      hint: 'see whether the mail server works and is reached from the machine of the console',
    })
  })
  try {
    const sending = transport.mail.sendMail({
      from,
      to: [...to],
      subject: message.title,
      text: message.text,
      headers: { 'Auto-Submitted': 'auto-generated' },
    })
    const { rejected } = await Promise.race([sending, late])
    if (rejected.length > 0) throw refused(`${host}:${port}`, `not for ${rejected.join(', ')}`)
  } catch (error) {
    throw mailFailure(error, `${host}:${port}`)
  } finally {
    inside.abort()
    late.catch(() => undefined)
  }
}

function mailFailure(error: unknown, where: string): unknown {
  if (error instanceof TidemarkError || !(error instanceof Error)) return error
  const { responseCode, code } = error as Error & { responseCode?: number; code?: string }
  if (code === 'EAUTH') {
    return new TidemarkError('channel-refused', {
      message: `${where} did not let the console sign in: ${messageOf(error)}`,
      hint: 'see whether the user and the password of the channel are right, and whether the server lets programs sign in',
      cause: error,
    })
  }
  if (responseCode !== undefined) return refused(where, messageOf(error), error)
  return failureOf(causeOf(error), where)
}

/** What the library met, under its own code. */
const causeOf = (error: Error): unknown => (error.cause instanceof Error ? error.cause : error)

const refused = (where: string, why: string, cause?: unknown): TidemarkError =>
  new TidemarkError('channel-refused', {
    message: `${where} did not take the message: ${why}`,
    hint: "see whether the sender and the receivers are such as the server takes, and what the server's log says",
    cause,
  })

function closing(mail: ReturnType<typeof createTransport>): Disposable & { readonly mail: typeof mail } {
  return { mail, [Symbol.dispose]: () => mail.close() }
}
