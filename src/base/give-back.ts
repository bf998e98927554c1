/** Up to about half of this memory may be Node's pool, which many share; and what is small is had again without asking the system. */
const sharedBytesMax = 2 * Buffer.poolSize

/**
 * Gives the memory in which these bytes stand back now, and not once it is collected: each 64 MiB of new buffers set off a look at a
 * whole heap, and memory that is new to the process costs a page fault every 4 KiB, more than most that is done with it. For bytes that
 * are the caller's alone: who still has a view of them finds it empty, and the system must have answered what it was asked to do with them.
 */
export function giveBack({ buffer }: Uint8Array): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength > sharedBytesMax) buffer.transfer(0)
}
