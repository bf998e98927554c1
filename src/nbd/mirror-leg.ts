import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { isSystemError } from '../base/errors.ts'

/**
 * How an attached device does as a leg of an md mirror of this machine (Documentation/admin-guide/md.rst of Linux, "md devices
 * in sysfs"). `in-sync`: it has every write of the mirror. `away`: the mirror goes on without it. `copying`: it is given what it lacks,
 * in the order of the mirror's bitmap. `unknown`: it is, as far as can be seen, no leg.
 */
export interface MirrorLeg {
  readonly state: 'in-sync' | 'away' | 'copying' | 'unknown'
  /** Such as md0. */
  readonly mirror?: string
  /** Another one where it was away in between, however short. */
  readonly membership?: string
}

/** Looks at the devices of one owner (kernel-device.ts), and remembers which mirror one was a leg of: a mirror that has let go of it does not tell. */
export class MirrorLegs {
  readonly #owner: string
  readonly #blocks: string
  #known: { readonly mirror: string; readonly member: string } | undefined

  constructor(owner: string, blocks = '/sys/block') {
    this.#owner = owner
    this.#blocks = blocks
  }

  look(): MirrorLeg {
    try {
      return this.#look()
    } catch (error) {
      // It went while it was looked at: the next look tells.
      if (isSystemError(error, 'ENOENT', 'ENODEV', 'ENOTDIR')) return { state: 'unknown' }
      throw error
    }
  }

  #look(): MirrorLeg {
    const found = this.#legs()[0]
    if (found !== undefined) this.#known = found
    const { mirror, member } = found ?? this.#known ?? {}
    if (mirror === undefined || member === undefined) return { state: 'unknown' }
    const folder = join(this.#blocks, mirror, 'md')
    if (!existsSync(folder) || /^(?:clear|inactive)$/.test(readFileSync(join(folder, 'array_state'), 'utf8').trim())) {
      this.#known = undefined
      return { state: 'unknown' }
    }
    const leg = join(folder, `dev-${member}`)
    if (!existsSync(leg)) return { state: 'away', mirror }
    const words = readFileSync(join(leg, 'state'), 'utf8').trim().split(',')
    if (words.includes('in_sync')) return { state: 'in-sync', mirror, membership: `${mirror} ${statSync(leg).ino}` }
    return { state: words.includes('faulty') ? 'away' : 'copying', mirror }
  }

  /** Mirrors that hold a device of the owner, or a partition of one. */
  #legs(): { readonly mirror: string; readonly member: string }[] {
    if (!existsSync(this.#blocks)) return []
    const devices = readdirSync(this.#blocks).filter((name) => /^nbd\d+$/.test(name) && this.#isOurs(name))
    return devices.flatMap((device) => {
      const folder = join(this.#blocks, device)
      const parts = readdirSync(folder).filter((name) => name.startsWith(`${device}p`))
      return [
        { member: device, holders: join(folder, 'holders') },
        ...parts.map((part) => ({ member: part, holders: join(folder, part, 'holders') })),
      ].flatMap(({ member, holders }) =>
        readdirSync(holders)
          .filter((name) => existsSync(join(this.#blocks, name, 'md')))
          .map((mirror) => ({ mirror, member })),
      )
    })
  }

  #isOurs(device: string): boolean {
    const backend = join(this.#blocks, device, 'backend')
    return existsSync(backend) && readFileSync(backend, 'utf8').trimEnd() === this.#owner
  }
}
