import { cString, libcFunction } from './libc.ts'

const currentDirectory = -100 // AT_FDCWD

// Through syscall(): mknodat is a function of its own in glibc only since 2.33. Unlike glibc's, the kernel's device number has 32 bits.
const mknodatNumber = process.arch === 'arm64' ? 33 : 259
const mknodat = libcFunction('syscall', 'int64', ['int64', 'int', 'bytes', 'uint32', 'uint32'], 'mknodat')

/** What of a file system's nodes only mknod can make. */
export type SpecialNode =
  | { kind: 'fifo' | 'socket' }
  | { kind: 'character-device' | 'block-device'; major: number; minor: number }

const typeBits = { 'fifo': 0o010000, 'character-device': 0o020000, 'block-device': 0o060000, 'socket': 0o140000 }

/** Makes the node with these permission bits, less the umask. Devices need CAP_MKNOD. */
export function makeNode(path: string, node: SpecialNode, permissions: number): void {
  const device = 'major' in node ? deviceNumber(node.major, node.minor) : 0n
  mknodat(
    [mknodatNumber, currentDirectory, cString(path), typeBits[node.kind] | (permissions & 0o7777), Number(device)],
    path,
  )
}

/** Largest numbers the kernel has: 12 bits of major, 20 of minor. */
const majorMax = 0xfff
const minorMax = 0xf_ffff

/** `rdev` as stat tells it: gnu_dev_makedev, which for the kernel's numbers is minor 7..0, major 11..0, minor 19..8. */
export function deviceNumber(major: number, minor: number): bigint {
  if (!isWithin(major, majorMax) || !isWithin(minor, minorMax)) {
    throw new RangeError(`no device ${major}:${minor}; majors end at ${majorMax}, minors at ${minorMax}`)
  }
  return BigInt(minor & 0xff) | (BigInt(major) << 8n) | (BigInt(minor >> 8) << 20n)
}

/** The reverse of `deviceNumber`. */
export function deviceParts(rdev: bigint): { major: number; minor: number } {
  if (rdev < 0n || rdev > 0xffff_ffffn) throw new RangeError(`${rdev} is not a device number of Linux`)
  const bits = Number(rdev)
  return { major: (bits >>> 8) & majorMax, minor: (bits & 0xff) | ((bits >>> 12) & 0xf_ff00) }
}

function isWithin(value: number, max: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= max
}
