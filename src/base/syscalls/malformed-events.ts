/** What the kernel's event queue gave cannot be read: a newer layout, or a broken reader. Watching must start anew. */
export class MalformedEvents extends Error {
  override readonly name = 'MalformedEvents'
  readonly code = 'malformed-events'
  constructor(queue: 'fanotify' | 'inotify', what: string, offset: number) {
    super(`malformed ${queue} events: ${what} at byte ${offset}; watch anew and scan, and report this kernel's version`)
  }
}
