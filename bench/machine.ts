import { spawnSync } from 'node:child_process'
import { globSync, readFileSync } from 'node:fs'
import { availableParallelism, cpus, release, totalmem } from 'node:os'

/** What the measurements ran on, and which versions of whom. */
export interface Machine {
  readonly processor: string
  readonly cores: number
  readonly memoryGiB: number
  readonly kernel: string
  readonly system: string
  readonly fileSystem: string
  readonly versions: Readonly<{ [program: string]: string }>
}

const asked: Readonly<{ [program: string]: readonly string[] }> = {
  restic: ['restic', 'version'],
  borg: ['borg', '--version'],
  rsync: ['rsync', '--version'],
  lsyncd: ['lsyncd', '--version'],
  syncthing: ['syncthing', '--version'],
  zstd: ['zstd', '--version'],
  tar: ['tar', '--version'],
  pgbackrest: ['pgbackrest', 'version'],
  nbdkit: ['nbdkit', '--version'],
  qemu: ['qemu-nbd', '--version'],
  fio: ['fio', '--version'],
}

export function describeMachine(directory: string): Machine {
  return {
    processor: cpus()[0]?.model ?? 'unknown',
    cores: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    system: /^PRETTY_NAME="?([^"\n]*)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'unknown',
    fileSystem:
      spawnSync('df', ['--output=fstype', directory], { encoding: 'utf8' }).stdout.trim().split('\n').at(-1) ??
      'unknown',
    versions: {
      'Node.js': process.versions.node,
      ...Object.fromEntries(
        Object.entries(asked)
          .map(([name, command]) => [name, versionOf(command)])
          .filter(([, version]) => version !== ''),
      ),
    },
  }
}

export const isInstalled = (program: string): boolean => versionOf(asked[program] ?? [program, '--version']) !== ''

function versionOf([program, ...parameters]: readonly string[]): string {
  const { stdout, stderr, error } = spawnSync(program as string, parameters, { encoding: 'utf8' })
  if (error) return ''
  return /\d+\.\d+(?:\.\d+)*/.exec(`${stdout}${stderr}`)?.[0] ?? 'unknown'
}

export function machineLines({ processor, cores, memoryGiB, kernel, system, fileSystem, versions }: Machine): string {
  const programs = Object.entries(versions)
    .map(([name, version]) => `${name} ${version}`)
    .join(', ')
  return `${cores} cores (${processor}), ${memoryGiB} GiB memory, Linux ${kernel}, ${system}, ${fileSystem}.\n${programs}.\n`
}

/** Other processes that are told of every change of a file system: while one of them is slow, so is all that changes files. */
export function watchersOfFileSystems(): string[] {
  const listening = globSync('/proc/[0-9]*/fdinfo/*').flatMap((path) => {
    try {
      return readFileSync(path, 'utf8').includes('fanotify ') ? [`process ${path.split('/')[2]}`] : []
    } catch {
      // It has ended meanwhile, or is another user's.
      return []
    }
  })
  return [...new Set(listening)]
}
