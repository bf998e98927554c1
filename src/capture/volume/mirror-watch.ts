import type { Moment } from '../../model/moment.ts'
import type { Problem } from '../../model/report.ts'
import type { MirrorLeg } from '../../nbd/mirror-leg.ts'

/** Whether the volume holds all that is written to the mirror it is a leg of, if it is one. */
export class MirrorWatch {
  readonly #look: () => MirrorLeg
  #membership: string | undefined
  #isTrusted = false

  constructor(look: () => MirrorLeg) {
    this.#look = look
  }

  /** Everything is compared because somebody asked for it: a volume that is no leg any more, as far as can be seen, is taken as it is. */
  trust(): void {
    this.#isTrusted = true
  }

  /** `awaySince` is what the journal has noted, 0 for nothing. What is whole now may have been away since the look before. */
  look(awaySince: Moment): {
    readonly isWhole: boolean
    readonly wasAway: boolean
    readonly problems: readonly Problem[]
  } {
    const { state, mirror = 'the mirror', membership } = this.#look()
    if (state === 'in-sync') {
      const wasAway = this.#membership !== undefined && this.#membership !== membership
      this.#membership = membership
      this.#isTrusted = false
      return { isWhole: true, wasAway, problems: [] }
    }
    if (state === 'unknown') {
      const isWhole = awaySince === 0 || this.#isTrusted
      this.#isTrusted = false
      return { isWhole, wasAway: false, problems: isWhole ? [] : [unknownLeg] }
    }
    return { isWhole: false, wasAway: false, problems: [state === 'copying' ? copyingLeg(mirror) : awayLeg(mirror)] }
  }
}

const awayLeg = (mirror: string): Problem => ({
  code: 'mirror-leg-away',
  message: `${mirror} goes on without this volume: what is written to it now is not protected`,
  hint: `give it back to the mirror: "mdadm /dev/${mirror} --remove DEVICE", then "--re-add DEVICE"`,
})

const copyingLeg = (mirror: string): Problem => ({
  code: 'mirror-leg-away',
  message: `${mirror} gives this volume what it lacks: until it has, the points of this time are no states of the mirror`,
  hint: '"cat /proc/mdstat" tells how far it is',
})

const unknownLeg: Problem = {
  code: 'mirror-leg-away',
  message: 'a mirror went on without this volume, and it is seen in no mirror now',
  hint: 'give it back to its mirror, or, where it is used without one from now on, let it be compared: "tidemark reconcile NAME"',
}
