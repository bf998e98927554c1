import { hostname, release, type as systemType } from 'node:os'
import type { SourceStatus } from '../../api/schemas.ts'
import type { Discovered } from '../../api/tasks.ts'
import { TidemarkError } from '../../base/errors.ts'
import { parsePostgresUrls } from '../../capture/postgres/protocol/url.ts'
import { largeDirectories, type WalkLimits, walkLimits } from './directories.ts'
import { measured, mountsHere } from './mounts.ts'
import { type Asking, describePostmaster, type Postmaster, postmastersHere } from './postgres.ts'

/** What there is to protect on this server, and which of it is protected already. Reads only, within limits. */
export async function discover(
  sources: readonly SourceStatus[],
  asking: Asking,
  signal: AbortSignal,
  limits: WalkLimits = walkLimits,
): Promise<Discovered> {
  const { clock } = asking
  const mounts = mountsHere()
  const roots = mounts.filter(({ isNetwork }) => !isNetwork).map(({ path }) => path)
  const servers = postmastersHere()
  const [measuredMounts, postgres, walk] = await Promise.all([
    Promise.all(mounts.slice(0, 256).map((mount) => measured(mount, clock))),
    Promise.all(servers.map((server) => describePostmaster(server, asking, signal))),
    largeDirectories(roots, limits, clock, signal),
  ])
  return {
    hostname: hostname(),
    system: `${systemType()} ${release()}`,
    postgres: postgres.map((found, index) => ({
      ...found,
      ...protectedBy(sources, (source) => isServer(source, servers[index] as Postmaster)),
    })),
    mounts: measuredMounts.map((mount) => ({
      ...mount,
      ...protectedBy(sources, (source) => holds(source, mount.path) || source.volume?.backing === mount.device),
    })),
    directories: walk.directories.map((directory) => ({
      ...directory,
      ...protectedBy(sources, (source) => holds(source, directory.path)),
    })),
    ...(walk.stopped === undefined ? {} : { stopped: walk.stopped }),
  }
}

function protectedBy(
  sources: readonly SourceStatus[],
  is: (source: SourceStatus) => boolean,
): { readonly source?: string } {
  const found = sources.find((source) => source.state !== 'retired' && is(source))
  return found === undefined ? {} : { source: found.name }
}

const holds = ({ kind, paths }: SourceStatus, path: string): boolean =>
  kind === 'files' && paths.some((one) => path === one || path.startsWith(`${one.replace(/\/$/, '')}/`))

function isServer({ postgres }: SourceStatus, { port, socketFolder }: Postmaster): boolean {
  if (postgres === undefined) return false
  try {
    return parsePostgresUrls(postgres.url, 'postgres').some(({ address }) =>
      address.kind === 'socket'
        ? address.folder === socketFolder && address.port === port
        : address.port === port && (isLoopback(address.host) || address.host === hostname()),
    )
  } catch (error) {
    if (error instanceof TidemarkError) return false
    throw error
  }
}

const isLoopback = (host: string): boolean => host === 'localhost' || host === '::1' || host.startsWith('127.')
