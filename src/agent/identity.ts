import { createSecretKey, type KeyObject } from 'node:crypto'
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import * as z from 'zod'
import { enrolAnswer } from '../api/schemas.ts'
import { bandwidthLimits } from '../api/tasks.ts'
import type { Clock } from '../base/clock.ts'
import { isSystemError, messageOf, TidemarkError } from '../base/errors.ts'
import { pathExists } from '../base/path-exists.ts'
import type { Random } from '../base/random.ts'
import { type Id, isId, namePattern, type SourceDefinition } from '../model/source.ts'
import { lockDirectory } from '../base/lock-directory.ts'
import { leftMs, readCredential, writeCredential, writeSecret } from '../wire/authority.ts'
import { parseToken, proofText } from '../wire/enrolment.ts'
import { apiClient, vaultDoor } from '../wire/http-client.ts'
import { sourceDefinitionSchema } from '../wire/messages.ts'
import { agentCertificateMs, createCsr, type Credential, publicKeyFingerprint, signText } from '../wire/pki.ts'
import { fetchAuthority } from '../wire/tls.ts'

/**
 * The agent's directory, readable by its owner only. Each file is replaced whole.
 *
 *   identity.json     who this agent is, and where its vault is
 *   credential.pem    certificate and key
 *   spool.key         key of the spools
 *   definitions.json  the sources, as the vault told them last
 *   chunk.key         the vault's chunk key, as told last
 *   settings.json     optional: what the operator of this server wants (see `settingsSchema`)
 *   sources/ID/       what is remembered and spooled of one source
 */
export interface Identity {
  readonly agent: Id
  readonly name: string
  readonly vault: Id
  readonly host: string
  readonly port: number
  /** Certificate of the vault's authority, PEM. */
  readonly authority: string
}

const idSchema = z.string().refine(isId)
const identitySchema = z.object({
  version: z.literal(1),
  agent: idSchema,
  name: z.string().regex(namePattern),
  vault: idSchema,
  host: z.string().min(1),
  port: z.int().min(1).max(65_535),
  authority: z.string(),
})

export const spoolBytesMaxDefault: number = 10 * 1024 ** 3

const settingsSchema = z.object({
  /** Limits of what is shipped, by time of day. */
  bandwidth: bandwidthLimits.default([]),
  /** Whether the vault may have anything done here beside protection: restores above all. */
  tasks: z.enum(['all', 'none']).default('all'),
  /** Of one source on this server's disk while the vault is not reached. */
  spoolBytesMax: z
    .int()
    .min(1024 * 1024)
    .default(spoolBytesMaxDefault),
})
export type Settings = z.infer<typeof settingsSchema>

export interface JoinRequest {
  readonly directory: string
  readonly host: string
  readonly port: number
  readonly token: string
  readonly name: string
}

const spoolKeyBytes = 32

/**
 * Enrols this server with a vault. The token is shown to nobody but a server that holds the pinned authority's key. In
 * the directory of an agent of that vault it stays who it is, with all it remembers: only its certificate is another.
 * That it is that agent it proves by the key it has, or by a token that was made for it; with such a token an empty
 * directory becomes that agent's.
 */
export async function joinVault(
  { directory, host, port, token, name }: JoinRequest,
  { random, signal }: { readonly random: Random; readonly signal: AbortSignal },
): Promise<Identity> {
  const { authority: fingerprint, secret: secretBytes, replaces, isForConsole } = parseToken(token)
  if (isForConsole === true)
    throw new TidemarkError('token-refused', {
      message: 'this token is for a console, not for a server',
      hint: 'make one with "tidemark vault token" at the vault',
    })
  const secret = secretBytes.toString('base64url')
  const present = await readIdentity(directory)
  if (present && !publicKeyFingerprint(present.authority).equals(fingerprint)) {
    throw new TidemarkError('already-exists', {
      message: `${directory} is that of an agent of another vault`,
      hint: 'name another directory, or remove this one if that agent is no longer wanted',
    })
  }
  if (present && replaces !== undefined && replaces !== present.agent) {
    throw new TidemarkError('already-exists', {
      message: `${directory} is that of the agent "${present.name}", and the token is for another one`,
      hint: 'name another directory',
    })
  }
  using _lock = present && lockDirectory(directory)
  const authority = await fetchAuthority({ host, port, fingerprint }, publicKeyFingerprint, signal)
  const { csr, key } = await createCsr()
  using door = vaultDoor({ host, port, authority })
  const agent = present?.agent ?? replaces
  const credential = present && (await readCredential(join(directory, 'credential.pem')))
  const answer = await apiClient(door).json('POST', '/v1/enrol', enrolAnswer, {
    secret,
    name: present?.name ?? name,
    csr,
    replaces: agent,
    proof: agent && credential && proofOf(credential, proofText({ agent, secret, csr })),
  })
  await mkdir(directory, { recursive: true, mode: 0o700 })
  await writeCredential(join(directory, 'credential.pem'), { certificate: answer.certificate, key })
  if (!(await pathExists(join(directory, 'spool.key')))) {
    await writeSecret(join(directory, 'spool.key'), Buffer.from(random.bytes(spoolKeyBytes)).toString('hex'))
  }
  const identity = {
    agent: answer.agent as Id,
    name: answer.name,
    vault: answer.vault as Id,
    host,
    port,
    authority,
  }
  await writeSecret(join(directory, 'identity.json'), JSON.stringify({ version: 1, ...identity }, undefined, 2))
  return identity
}

const proofOf = (credential: Credential, text: string): { certificate: string; signature: string } => ({
  certificate: credential.certificate,
  signature: signText(credential, text),
})

async function readIdentity(directory: string): Promise<Identity | undefined> {
  const file = join(directory, 'identity.json')
  const text = await readText(file)
  if (text === undefined) return undefined
  const { version, ...identity } = parsed(identitySchema, text, file)
  return identity
}

/** An agent's directory, read. */
export class AgentHome {
  readonly directory: string
  readonly identity: Identity
  readonly settings: Settings
  readonly spoolKey: KeyObject
  #credential: Credential
  #chunkKey: Uint8Array | undefined

  private constructor(parts: {
    directory: string
    identity: Identity
    settings: Settings
    spoolKey: KeyObject
    credential: Credential
    chunkKey: Uint8Array | undefined
  }) {
    this.directory = parts.directory
    this.identity = parts.identity
    this.settings = parts.settings
    this.spoolKey = parts.spoolKey
    this.#credential = parts.credential
    this.#chunkKey = parts.chunkKey
  }

  static async open(directory: string): Promise<AgentHome> {
    const file = (name: string): string => join(directory, name)
    const identity = await readIdentity(directory)
    const credential = await readCredential(file('credential.pem'))
    const spoolKey = await readText(file('spool.key'))
    if (identity === undefined || credential === undefined || spoolKey === undefined) {
      throw new TidemarkError('not-found', {
        message: `${directory} is not the directory of an enrolled agent`,
        hint: 'enrol this server with "tidemark agent join"; the token comes from "tidemark vault token" at the vault',
      })
    }
    const chunkKey = await readText(file('chunk.key'))
    return new AgentHome({
      directory,
      identity,
      settings: parsed(settingsSchema, (await readText(file('settings.json'))) ?? '{}', file('settings.json')),
      spoolKey: createSecretKey(Buffer.from(spoolKey, 'hex')),
      credential,
      chunkKey: chunkKey === undefined ? undefined : Buffer.from(chunkKey, 'hex'),
    })
  }

  get credential(): Credential {
    return this.#credential
  }

  get chunkKey(): Uint8Array | undefined {
    return this.#chunkKey
  }

  async chunkKeyTold(key: Uint8Array): Promise<void> {
    if (this.#chunkKey && Buffer.compare(this.#chunkKey, key) === 0) return
    await writeSecret(join(this.directory, 'chunk.key'), Buffer.from(key).toString('hex'))
    this.#chunkKey = key
  }

  /** The sources as they were told last; none where they are not known. */
  async definitions(): Promise<SourceDefinition[]> {
    const text = await readText(join(this.directory, 'definitions.json'))
    if (text === undefined) return []
    return parsed(z.array(sourceDefinitionSchema), text, join(this.directory, 'definitions.json'))
  }

  async definitionsTold(sources: readonly SourceDefinition[]): Promise<void> {
    await writeSecret(join(this.directory, 'definitions.json'), JSON.stringify(sources, undefined, 2))
  }

  /** Renewed after two thirds of its life: there is a third for a vault that cannot be reached. */
  needsRenewal(clock: Clock): boolean {
    return leftMs(this.#credential, clock) < agentCertificateMs / 3
  }

  /** A new key with a new certificate, asked for with the present one. */
  async renew(): Promise<void> {
    const { csr, key } = await createCsr()
    using door = vaultDoor({ ...this.identity, credential: this.#credential })
    const { certificate } = await apiClient(door).json('POST', '/v1/renew', enrolAnswer, { csr })
    const credential = { certificate, key }
    await writeCredential(join(this.directory, 'credential.pem'), credential)
    this.#credential = credential
  }
}

async function readText(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return undefined
    throw error
  }
}

function parsed<T>(schema: z.ZodType<T>, text: string, file: string): T {
  try {
    return schema.parse(JSON.parse(text))
  } catch (error) {
    const [issue] = error instanceof z.ZodError ? error.issues : []
    throw new TidemarkError('bad-request', {
      message: `${file} cannot be read: ${issue ? `${issue.path.join('.')}: ${issue.message}` : messageOf(error)}`,
      hint: file.endsWith('settings.json')
        ? 'mend it, or remove it for the defaults'
        : 'bring it back from a copy, or enrol this server anew',
      cause: error,
    })
  }
}
