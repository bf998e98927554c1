import { messageOf } from '../../base/errors.ts'
import { waitReadable } from '../../base/syscalls/poll.ts'
import { fanotifyObstacle } from '../../base/syscalls/fanotify.ts'
import type { NodeId } from './catalog-tree.ts'
import type { Look, Mounted } from './filesystems.ts'
import type { Problems } from './problems.ts'
import { type AbsolutePath, filesystemNumberOf } from './stat.ts'
import { FanotifyWatch } from './watch-fanotify.ts'
import { InotifyWatch } from './watch-inotify.ts'
import { type Noticed, noWatch, type Watch } from './watch.ts'

/** Ways to watch, best first. Tests and operators may leave some out. */
export type WatchName = Watch['name']
export const watchNames: readonly WatchName[] = ['fanotify', 'inotify', 'scanning']

export interface WatchingOptions {
  readonly allowed: readonly WatchName[]
  /** For tests: false makes the kernel drop events past 16,384. */
  readonly unlimitedQueue: boolean
}

/** Chooses for each file system the best way to watch it, and hears all of them. */
export class Watching implements Disposable {
  readonly #options: WatchingOptions
  readonly #problems: Problems
  readonly #byFilesystem = new Map<number, Watch>()
  #fanotify: FanotifyWatch | undefined
  #inotify: InotifyWatch | undefined
  #fds: readonly number[] = []
  /** Other machines change what is protected. */
  #isRemote = false
  readonly #followed = new Set<NodeId>()
  /** Directories in which only scanning finds changes. */
  readonly #unfollowed = new Set<NodeId>()

  constructor(options: WatchingOptions, problems: Problems) {
    this.#options = options
    this.#problems = problems
  }

  /** Readable when something is queued. */
  get fds(): readonly number[] {
    return this.#fds
  }

  /** For the operator: `fanotify`, or `fanotify, inotify`, … */
  get names(): string {
    const names = new Set([...this.#byFilesystem.values()].map(({ name }) => name))
    if (this.#unfollowed.size > 0) names.add('scanning')
    return watchNames.filter((name) => names.has(name)).join(', ') || 'scanning'
  }

  /** Whether changes may go unnoticed until a scan. */
  get hasGaps(): boolean {
    return this.#isRemote || this.#unfollowed.size > 0 || [...this.#byFilesystem.values()].includes(noWatch)
  }

  found(mounted: Mounted, path: AbsolutePath): void {
    this.#byFilesystem.set(mounted.number, this.#choose(path))
    this.#isRemote ||= mounted.network
    this.#fds = [this.#fanotify?.fd, this.#inotify?.fd].filter((fd) => fd !== undefined)
  }

  follow(directory: NodeId, path: AbsolutePath, look: Look): void {
    const watch = this.#byFilesystem.get(filesystemNumberOf(look.stat)) ?? noWatch
    const isFollowed = watch.follow(directory, path, look)
    if (isFollowed) this.#followed.add(directory)
    if (isFollowed) this.#unfollowed.delete(directory)
    else if (watch !== noWatch) this.#unfollowed.add(directory)
  }

  isFollowed(directory: NodeId): boolean {
    return this.#followed.has(directory)
  }

  forget(directory: NodeId): void {
    this.#fanotify?.forget(directory)
    this.#inotify?.forget(directory)
    this.#unfollowed.delete(directory)
    this.#followed.delete(directory)
  }

  /** Asked very often, mostly for nothing: asking costs less than reading in vain. */
  drain(noticed: Noticed): void {
    for (;;) {
      const ready = this.fds.length === 0 ? [] : waitReadable(this.fds, 0)
      if (ready.length === 0) break
      for (const watch of [this.#fanotify, this.#inotify])
        if (watch !== undefined && ready.includes(watch.fd)) watch.hear(noticed)
    }
    this.#inotify?.heardAll(noticed)
  }

  #choose(path: AbsolutePath): Watch {
    const { allowed, unlimitedQueue } = this.#options
    if (allowed.includes('fanotify')) {
      const obstacle = fanotifyObstacle(path)
      if (obstacle === undefined) {
        this.#fanotify ??= new FanotifyWatch({ unlimitedQueue, displaced: (directory) => this.#displaced(directory) })
        this.#fanotify.addFilesystem(path)
        return this.#fanotify
      }
    }
    if (allowed.includes('inotify')) {
      try {
        return (this.#inotify ??= new InotifyWatch({
          limitReached: () => this.#limitReached(),
          displaced: (directory) => this.#displaced(directory),
        }))
      } catch (error) {
        this.#problems.set('watching', {
          code: 'watch-limit',
          message: `changes below ${path} are found only by scanning: ${messageOf(error)}`,
        })
      }
    }
    return noWatch
  }

  #displaced(directory: NodeId): void {
    this.#followed.delete(directory)
    this.#unfollowed.add(directory)
  }

  #limitReached(): void {
    this.#problems.set('watching', {
      code: 'watch-limit',
      message:
        'the limit of inotify watches is reached; in the directories beyond it, changes are found only by scanning',
      hint: 'raise it with "sysctl fs.inotify.max_user_watches=1048576", or run the agent as root',
    })
  }

  [Symbol.dispose](): void {
    this.#fanotify?.[Symbol.dispose]()
    this.#inotify?.[Symbol.dispose]()
  }
}
