import { generateURI, ScureBase32Plugin, verifySync } from 'otplib'
import type { Random } from '../base/random.ts'

/** The codes of an authenticator (RFC 6238): six digits, 30 s, SHA-1, as every app has them. */
const secretBytes = 20
/** Clocks may be so far from each other, either way. */
const toleranceSeconds = 30

export function newTotp(random: Random, account: string): { secret: string; uri: string } {
  const secret = new ScureBase32Plugin().encode(random.bytes(secretBytes), { padding: false })
  return { secret, uri: generateURI({ issuer: 'Tidemark', label: account, secret }) }
}

/** The time step that the code is of, if it is one of now; whoever keeps that takes no code of it or before again. */
export function totpStep(secret: string, code: string, now: number): number | undefined {
  const result = verifySync({
    secret,
    token: code,
    epoch: Math.floor(now / 1_000_000),
    epochTolerance: toleranceSeconds,
  })
  return result.valid && 'timeStep' in result ? result.timeStep : undefined
}
