import { consoleEnrolAnswer } from '../api/consoles.ts'
import { isCode, TidemarkError } from '../base/errors.ts'
import type { Random } from '../base/random.ts'
import type { Id } from '../model/source.ts'
import { parseToken } from '../wire/enrolment.ts'
import { apiClient, vaultDoor } from '../wire/http-client.ts'
import { createCsr, type Credential, publicKeyFingerprint } from '../wire/pki.ts'
import { fetchAuthority } from '../wire/tls.ts'
import type { VaultRecord } from './vault-table.ts'

export interface EnrolRequest {
  readonly host: string
  readonly port: number
  readonly token: string
  /** What the vault calls this console. */
  readonly as: string
}

/**
 * Lets this console in at a vault. The token is shown to nobody but a server that holds the key it pins. Where the vault knows
 * another console of that name, this one's gets a few letters more.
 */
export async function enrolAtVault(
  { host, port, token, as }: EnrolRequest,
  random: Random,
  signal: AbortSignal,
): Promise<{ record: VaultRecord; credential: Credential }> {
  const { authority: fingerprint, secret, isForConsole } = parseToken(token)
  if (isForConsole !== true) {
    throw new TidemarkError('token-refused', {
      message: 'this token is for a server, not for a console',
      hint: 'make one with "tidemark vault token --console" at the vault',
    })
  }
  const authority = await fetchAuthority({ host, port, fingerprint }, publicKeyFingerprint, signal)
  const { csr, key } = await createCsr()
  using door = vaultDoor({ host, port, authority })
  const client = apiClient(door)
  const ask = (name: string) =>
    client.json('POST', '/v1/consoles', consoleEnrolAnswer, { secret: secret.toString('base64url'), name, csr })
  let answer
  try {
    answer = await ask(as)
  } catch (error) {
    if (!isCode(error, 'already-exists')) throw error
    answer = await ask(`${as.slice(0, 50)}-${Buffer.from(random.bytes(3)).toString('hex')}`)
  }
  return {
    record: { id: answer.vault as Id, name: answer.vaultName, host, port, authority },
    credential: { certificate: answer.certificate, key },
  }
}
