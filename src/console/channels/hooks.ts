import { createHash, createHmac } from 'node:crypto'
import { z } from 'zod'
import { TidemarkError } from '../../base/errors.ts'
import { isoMoment, type Moment } from '../../model/moment.ts'
import type { Language } from '../language/language.ts'
import { sentencesOf, type Message, type Told } from './message.ts'
import type { PostRequest } from './post.ts'

/**
 * What each receiver of an HTTP request wants to get, and how it says that it has taken it. Facts of the robots from their
 * public documentation:
 *
 *             text at most     a minute  signature                                             taken
 *   WeCom     2,048 bytes      20        none: the address is the secret                       errcode 0
 *   DingTalk  20,000 bytes     20        in the address: ms, Base64 HMAC-SHA256(secret, ms LF secret)  errcode 0
 *   Feishu    20,000 bytes     100       in the body: s, Base64 HMAC-SHA256(key s LF secret, nothing)  code 0
 *
 * All of them answer 200 also where they refuse. DingTalk's keyword may be `Tidemark`, which every message has.
 */
export type HookKind = 'webhook' | 'wecom' | 'dingtalk' | 'feishu'

export interface Hook {
  readonly kind: HookKind
  readonly url: string
  readonly secret?: string | undefined
  readonly authority?: string | undefined
}

export interface Delivery {
  readonly message: Message
  readonly told: readonly Told[]
  readonly language: Language
  /** The same for a message that is sent once more: its receiver may have got it already. */
  readonly key: string
}

export const textBytesMax: Readonly<Record<HookKind | 'smtp', number>> = {
  webhook: 64 * 1024,
  // Less than they take, for what else stands in the message or the request.
  wecom: 2000,
  dingtalk: 16_000,
  feishu: 16_000,
  smtp: 64 * 1024,
}

export function requestOf({ kind, url, secret, authority }: Hook, delivery: Delivery, now: Moment): PostRequest {
  const target = new URL(url)
  const headers: Record<string, string> = { 'content-type': 'application/json; charset=utf-8' }
  const made = (body: unknown): PostRequest => ({ url: target, headers, body: JSON.stringify(body), authority })
  switch (kind) {
    case 'webhook': {
      const request = made(webhookBody(delivery, now))
      headers['x-tidemark-delivery'] = createHash('sha256').update(delivery.key).digest('hex').slice(0, 32)
      if (secret === undefined) return request
      const at = String(seconds(now))
      headers['x-tidemark-timestamp'] = at
      headers['x-tidemark-signature'] = `sha256=${hmac(secret, `${at}.${request.body}`).toString('hex')}`
      return request
    }
    case 'wecom':
      return made({ msgtype: 'text', text: { content: robotText(delivery) } })
    case 'dingtalk': {
      if (secret !== undefined) {
        const at = String(Math.floor(now / 1000))
        target.searchParams.set('timestamp', at)
        target.searchParams.set('sign', hmac(secret, `${at}\n${secret}`).toString('base64'))
      }
      return made({ msgtype: 'text', text: { content: robotText(delivery) } })
    }
    case 'feishu': {
      const at = String(seconds(now))
      return made({
        ...(secret === undefined ? {} : { timestamp: at, sign: hmac(`${at}\n${secret}`, '').toString('base64') }),
        msg_type: 'text',
        // A tag of theirs in the name of a file could call everybody of the group.
        content: { text: robotText(delivery).replaceAll('<', '＜') },
      })
    }
  }
}

/** Throws `channel-refused` where the receiver did not take it. */
export function judgeAnswer(kind: HookKind, host: string, { status, text }: { status: number; text: string }): void {
  const refused = (why: string): TidemarkError =>
    new TidemarkError('channel-refused', {
      message: `${host} did not take the message: ${why}`,
      hint: 'see in the settings of the receiver whether the address, the secret and its limits are as the channel has them',
    })
  if (status >= 300 && status < 400) throw refused(`it answers ${status}, and redirects are not followed`)
  if (status < 200 || status >= 300) throw refused(`HTTP ${status} ${shortened(text)}`)
  if (kind === 'webhook') return
  const answer = robotAnswer.safeParse(parsed(text))
  const code = answer.data?.errcode ?? answer.data?.code ?? answer.data?.StatusCode
  if (code === undefined) throw refused(`it does not answer as a ${kind} robot: ${shortened(text)}`)
  if (code !== 0) throw refused(`${code} ${shortened(answer.data?.errmsg ?? answer.data?.msg ?? '')}`)
}

const robotAnswer = z.object({
  errcode: z.number().optional(),
  errmsg: z.string().optional(),
  code: z.number().optional(),
  msg: z.string().optional(),
  StatusCode: z.number().optional(),
})

const robotText = ({ message, told }: Delivery): string =>
  told.length === 0 ? `[Tidemark] ${message.text}` : `[Tidemark]\n${message.text}`

function webhookBody({ message, told, language }: Delivery, now: Moment): unknown {
  return {
    product: 'tidemark',
    sent: isoMoment(now),
    title: message.title,
    text: message.text,
    isTest: told.length === 0,
    events: told.map(({ event, alarm }) => {
      const { is, next } = sentencesOf(alarm, language)
      return { event, alarm: { ...alarm, message: is, hint: next } }
    }),
  }
}

const hmac = (key: string, text: string): Buffer => createHmac('sha256', key).update(text).digest()
const seconds = (now: Moment): number => Math.floor(now / 1_000_000)
const shortened = (text: string): string => text.replaceAll(/\s+/g, ' ').slice(0, 200)

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
