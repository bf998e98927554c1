import type { Role, User } from '../api/console.ts'
import type { Clock } from '../base/clock.ts'
import { TidemarkError } from '../base/errors.ts'
import type { Random } from '../base/random.ts'
import { isoMoment, type Moment } from '../model/moment.ts'
import type { Database } from './database.ts'
import { demandGoodPassword, type Passwords } from './passwords.ts'
import { duties } from './roles.ts'
import type { Sealing } from './sealing.ts'
import { newTotp, totpStep } from './totp.ts'

/** Accounts at once: a list of them is told whole. */
const accountsMax = 1_000

export interface Account {
  readonly key: string
  readonly name: string
  readonly role: Role
  readonly enabled: boolean
  readonly password: string
  readonly mustChange: boolean
  readonly hasTotp: boolean
}

export interface AccountChange {
  readonly role?: Role | undefined
  readonly enabled?: boolean | undefined
  readonly password?: string | undefined
  readonly resetTotp?: boolean | undefined
}

export interface NewAccount {
  readonly name: string
  readonly role: Role
  readonly password: string
}

interface Row {
  readonly key: string
  readonly name: string
  readonly role: Role
  readonly enabled: number
  readonly password: string
  readonly must_change: number
  readonly totp: Uint8Array | null
  readonly totp_begun: Uint8Array | null
  readonly totp_step: number
  readonly created: number
  readonly last_sign_in: number | null
}

/** Names are one if they look it: "Wang", "wang" and "ｗａｎｇ". */
export const accountKey = (name: string): string => name.normalize('NFKC').toLowerCase()

const sealedWhat = (key: string): string => `authenticator secret of ${key}`

/** Who may use the console. */
export class Accounts {
  readonly #database: Database
  readonly #passwords: Passwords
  readonly #sealing: Sealing
  readonly #clock: Clock
  readonly #random: Random

  constructor(parts: {
    readonly database: Database
    readonly passwords: Passwords
    readonly sealing: Sealing
    readonly clock: Clock
    readonly random: Random
  }) {
    this.#database = parts.database
    this.#passwords = parts.passwords
    this.#sealing = parts.sealing
    this.#clock = parts.clock
    this.#random = parts.random
  }

  list(): User[] {
    const rows = this.#database.sqlite.prepare('SELECT * FROM accounts ORDER BY created, key').all()
    return (rows as unknown as Row[]).map(userOf)
  }

  user(name: string): User {
    const row = this.#row(accountKey(name))
    if (row === undefined) throw noAccount(name)
    return userOf(row)
  }

  find(name: string): Account | undefined {
    const row = this.#row(accountKey(name))
    return row && accountOf(row)
  }

  demand(name: string): Account {
    const found = this.find(name)
    if (found !== undefined) return found
    throw noAccount(name)
  }

  /** Its password is to be changed by its owner. */
  async add(wanted: NewAccount): Promise<void> {
    const insert = await this.prepare(wanted)
    this.#database.atomically(insert)
  }

  /** What is slow of adding an account; what is returned does it. */
  async prepare({ name, role, password }: NewAccount): Promise<() => void> {
    demandGoodPassword(password, name)
    const key = accountKey(name)
    const hash = await this.#passwords.hash(password)
    return () => {
      const { sqlite } = this.#database
      const { count } = sqlite.prepare('SELECT count(*) AS count FROM accounts').get() as { count: number }
      if (count >= accountsMax)
        throw new TidemarkError('not-allowed', {
          message: `there are ${accountsMax} accounts already`,
          hint: 'change one that is not needed any more',
        })
      if (this.#row(key) !== undefined)
        throw new TidemarkError('already-exists', {
          message: `there is an account "${name}" already`,
          hint: 'take another name: accounts are disabled and never removed, so that the audit log stays true',
        })
      sqlite
        .prepare(
          'INSERT INTO accounts (key, name, role, enabled, password, must_change, created) VALUES (?, ?, ?, 1, ?, 1, ?)',
        )
        .run(key, name.normalize('NFKC'), role, hash, this.#clock.now())
    }
  }

  /** By somebody else than its owner: a password set so is to be changed by the owner. */
  async change(name: string, change: AccountChange): Promise<Account> {
    const { key } = this.demand(name)
    if (change.password !== undefined) demandGoodPassword(change.password, name)
    const hash = change.password === undefined ? undefined : await this.#passwords.hash(change.password)
    return this.#database.atomically(() => {
      const before = this.demand(name)
      const role = change.role ?? before.role
      const enabled = change.enabled ?? before.enabled
      if (before.enabled && (!enabled || role !== before.role)) this.#demandNotLast(before)
      this.#run('UPDATE accounts SET role = ?, enabled = ? WHERE key = ?', role, Number(enabled), key)
      if (hash !== undefined) this.#run('UPDATE accounts SET password = ?, must_change = 1 WHERE key = ?', hash, key)
      if (change.resetTotp === true)
        this.#run('UPDATE accounts SET totp = NULL, totp_begun = NULL, totp_step = 0 WHERE key = ?', key)
      return this.demand(name)
    })
  }

  async changeOwnPassword(name: string, wanted: string): Promise<void> {
    const { key, password: before } = this.demand(name)
    demandGoodPassword(wanted, name)
    if (await this.#passwords.matches(wanted, before)) {
      throw new TidemarkError('bad-request', {
        message: 'the new password is the old one',
        hint: 'take another one',
      })
    }
    const hash = await this.#passwords.hash(wanted)
    // Of two changes at once, that of whoever may set it for others stays.
    const { changes } = this.#database.sqlite
      .prepare('UPDATE accounts SET password = ?, must_change = 0 WHERE key = ? AND password = ?')
      .run(hash, key, before)
    if (changes === 1) return
    throw new TidemarkError('sign-in-refused', {
      message: 'the password was changed by somebody else meanwhile',
      hint: 'sign in with the new one',
    })
  }

  /** Whether it is the password of an enabled account, now that the answer is known; as slow where there is none. */
  async passwordMatches(name: string, password: string): Promise<boolean> {
    const kept = this.find(name)?.password
    const isRight = await this.#passwords.matches(password, kept)
    const now = this.find(name)
    return isRight && now?.enabled === true && now.password === kept
  }

  signedIn(name: string): void {
    this.#run('UPDATE accounts SET last_sign_in = ? WHERE key = ?', this.#clock.now(), accountKey(name))
  }

  /** A secret that is asked for at sign-in once a code of it has been confirmed. */
  beginTotp(name: string): { secret: string; uri: string } {
    const { key, hasTotp } = this.demand(name)
    if (hasTotp) {
      throw new TidemarkError('already-exists', {
        message: 'an authenticator is set already',
        hint: 'switch it off first',
      })
    }
    const begun = newTotp(this.#random, name)
    this.#run(
      'UPDATE accounts SET totp_begun = ? WHERE key = ?',
      this.#sealing.seal(begun.secret, sealedWhat(key)),
      key,
    )
    return begun
  }

  confirmTotp(name: string, code: string): void {
    const row = this.#row(accountKey(name))
    if (row === undefined || row.totp_begun === null) {
      throw new TidemarkError('not-found', {
        message: 'no authenticator is being set up',
        hint: 'begin again',
      })
    }
    const step = totpStep(this.#sealing.open(row.totp_begun, sealedWhat(row.key)), code, this.#clock.now())
    if (step === undefined) throw wrongCode()
    this.#run('UPDATE accounts SET totp = totp_begun, totp_begun = NULL, totp_step = ? WHERE key = ?', step, row.key)
  }

  /** Takes a code, which is then good no more. */
  useCode(name: string, code: string): boolean {
    const row = this.#row(accountKey(name))
    if (row === undefined || row.totp === null) return false
    const step = totpStep(this.#sealing.open(row.totp, sealedWhat(row.key)), code, this.#clock.now())
    if (step === undefined || step <= row.totp_step) return false
    this.#run('UPDATE accounts SET totp_step = ? WHERE key = ?', step, row.key)
    return true
  }

  disableTotp(name: string): void {
    this.#run('UPDATE accounts SET totp = NULL, totp_begun = NULL, totp_step = 0 WHERE key = ?', accountKey(name))
  }

  #demandNotLast({ key, name, role }: Account): void {
    if (!duties.includes(role)) return
    const { count } = this.#database.sqlite
      .prepare('SELECT count(*) AS count FROM accounts WHERE role = ? AND enabled = 1 AND key <> ?')
      .get(role, key) as { count: number }
    if (count > 0) return
    throw new TidemarkError('not-allowed', {
      message: `"${name}" is the last ${role.replaceAll('-', ' ')}`,
      hint: 'make another account of that role first',
    })
  }

  #row(key: string): Row | undefined {
    return this.#database.sqlite.prepare('SELECT * FROM accounts WHERE key = ?').get(key) as unknown as Row | undefined
  }

  #run(sql: string, ...values: (string | number | Uint8Array)[]): void {
    this.#database.sqlite.prepare(sql).run(...values)
  }
}

const noAccount = (name: string): TidemarkError =>
  new TidemarkError('not-found', { message: `there is no account "${name}"`, hint: 'see the list of users' })

const userOf = (row: Row): User => ({
  name: row.name,
  role: row.role,
  enabled: row.enabled === 1,
  hasTotp: row.totp !== null,
  mustChangePassword: row.must_change === 1,
  created: isoMoment(row.created as Moment),
  lastSignIn: row.last_sign_in === null ? null : isoMoment(row.last_sign_in as Moment),
})

const accountOf = (row: Row): Account => ({
  key: row.key,
  name: row.name,
  role: row.role,
  enabled: row.enabled === 1,
  password: row.password,
  mustChange: row.must_change === 1,
  hasTotp: row.totp !== null,
})

export const wrongCode = (): TidemarkError =>
  new TidemarkError('sign-in-refused', {
    message: 'that is not the code of this moment, or it has been used',
    hint: 'wait for the next code; check that the clocks of the telephone and of the console are right',
  })
