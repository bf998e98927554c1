import { spawnSync } from 'node:child_process'
import { chmodSync, copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { lackingUnpacked, unpackedFile } from '../run/programs.ts'

/** What a virtual machine starts with: a kernel of Debian's, and busybox. */
const packages = { kernel: 'linux-image-cloud-amd64', busybox: 'busybox-static' } as const
const busybox = unpackedFile(packages.busybox, 'bin/busybox')

/** For the `skip` of a test. */
export const lackingGuestKernel = (): string | false =>
  lackingUnpacked(packages.kernel, packages.busybox) ||
  (kernelOf() === undefined && 'the modules of its kernel are compressed')

interface GuestKernel {
  readonly image: string
  /** Where its modules are. */
  readonly modules: string
}

function kernelOf(): GuestKernel | undefined {
  const boot = unpackedFile(packages.kernel, 'boot')
  const name = existsSync(boot) ? readdirSync(boot).find((file) => file.startsWith('vmlinuz-')) : undefined
  if (name === undefined) return undefined
  const modules = unpackedFile(packages.kernel, `lib/modules/${name.slice('vmlinuz-'.length)}/kernel`)
  return existsSync(join(modules, 'drivers/block/nbd.ko')) ? { image: join(boot, name), modules } : undefined
}

/**
 * Makes in `folder` what the kernel unpacks into memory when it starts: busybox, the modules, and `init`, a script for
 * busybox's shell, which runs when these are loaded.
 */
export function makeGuest(folder: string, modules: readonly string[], init: string): { image: string; files: string } {
  const kernel = kernelOf()
  if (kernel === undefined) throw new Error('there is no kernel')
  const root = join(folder, 'guest')
  for (const inside of ['bin', 'dev', 'host', 'modules', 'proc', 'sys'])
    mkdirSync(join(root, inside), { recursive: true })
  copyFileSync(busybox, join(root, 'bin/busybox'))
  const loaded = inOrder(kernel, modules)
  for (const path of loaded) copyFileSync(path, join(root, 'modules', basename(path)))
  const lines = [
    '#!/bin/busybox sh',
    '/bin/busybox --install -s /bin',
    'mount -t proc none /proc; mount -t devtmpfs none /dev; mount -t sysfs none /sys',
    ...loaded.map((path) => `insmod /modules/${basename(path)}`),
    init,
  ]
  writeFileSync(join(root, 'init'), `${lines.join('\n')}\n`)
  chmodSync(join(root, 'init'), 0o755)
  const files = join(folder, 'guest.cpio')
  run('sh', '-c', `cd "${root}" && find . | "${busybox}" cpio -o -H newc > "${files}"`)
  return { image: kernel.image, files }
}

/** With what they depend on, as each module itself says, and that before them. */
function inOrder({ modules }: GuestKernel, wanted: readonly string[]): string[] {
  const paths = new Map(
    readdirSync(modules, { recursive: true, encoding: 'utf8' })
      .filter((path) => path.endsWith('.ko'))
      .map((path) => [moduleName(basename(path, '.ko')), join(modules, path)]),
  )
  const ordered = new Set<string>()
  const add = (name: string): void => {
    const path = paths.get(moduleName(name))
    if (path === undefined) throw new Error(`the kernel has no module ${name}`)
    const [, depends = ''] = /\0depends=([^\0]*)\0/.exec(readFileSync(path, 'latin1')) ?? []
    for (const other of depends.split(',').filter(Boolean)) add(other)
    ordered.add(path)
  }
  for (const name of wanted) add(name)
  return [...ordered]
}

const moduleName = (name: string): string => name.replaceAll('-', '_')

function run(program: string, ...args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${status}: ${stderr}`)
  return stdout
}
