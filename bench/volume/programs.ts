import { existsSync } from 'node:fs'
import { lacking } from '../../test/run/programs.ts'

/** Contestants, and what asks them. */
export const isServingInstalled = lacking('fio', 'nbdkit', 'qemu-nbd') === false

/** What makes an export a block device without a network block device in the kernel. */
export const canMount =
  process.getuid?.() === 0 &&
  existsSync('/dev/fuse') &&
  existsSync('/dev/loop-control') &&
  lacking('nbdfuse', 'losetup', 'mkfs.ext4') === false
