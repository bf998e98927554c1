import { existsSync, realpathSync } from 'node:fs'
import type { ApiClient } from '../api/client.ts'
import { TidemarkError } from '../base/errors.ts'
import { formatMoment } from '../model/moment.ts'
import { roomAt } from '../recover/target.ts'
import { unfinishedImage } from '../recover/volume/image-state.ts'
import { VolumeIncomplete, type VolumeReceipt } from '../recover/volume/receipt.ts'
import type { VolumeProgress } from '../recover/volume/progress.ts'
import { chosenState, restoreVolume } from '../recover/volume/restore-volume.ts'
import { apiVolume, describeSuspect } from './api-volume.ts'
import { loopOver } from './backing.ts'
import { holdPoint } from './held-point.ts'
import { formatBytes, formatCount, formatDurationMs } from './format.ts'
import { exitStatus, type Parts } from './parts.ts'

export interface VolumeRestoreOptions {
  resume?: boolean
  delta?: boolean
  force?: boolean
  dryRun?: boolean
  json?: boolean
}

/** Brings a volume back as a file, or onto a block device. */
export async function restoreVolumeSource(
  client: ApiClient,
  { source, at, target: given }: { readonly source: string; readonly at: string; readonly target: string },
  options: VolumeRestoreOptions,
  parts: Parts,
): Promise<void> {
  const { resume = false, delta = false, force = false, dryRun, json } = options
  const target = targetAt(given)
  // What is gone on with stands still, though "latest" may have moved on.
  const unfinished = resume ? unfinishedImage(target) : undefined
  const origin = await apiVolume(client, source, unfinished ? `seq:${unfinished.at}` : at)
  const request = { source, target, resume, delta, force }
  if (dryRun) {
    const { at: sequence, moment, bytes, over } = chosenState(request, origin)
    const freeBytes = roomAt(target).freeBytes
    const { suspect } = origin
    const told = { source, at: sequence, moment, suspect, target, bytes, over, freeBytes }
    return parts.out.write(
      json
        ? `${JSON.stringify(told)}\n`
        : `would restore ${source} as of ${formatMoment(moment)} (seq:${sequence}) to ${target}: ${formatBytes(bytes)}, ` +
            `zeros left out; ${formatBytes(freeBytes)} free there\n${describeSuspect(source, origin)}`,
    )
  }
  const tell = (progress: VolumeProgress): void => {
    if (json) parts.out.write(`${JSON.stringify({ progress })}\n`)
    else if (parts.err.isTerminal) parts.err.write(`\r${describeProgress(progress)}\x1b[K`)
  }
  const note = (message: string): void => void parts.err.write(`${message}\n`)
  await using _held = await holdPoint({ client, source, at: origin.point.at, note }, parts)
  try {
    const receipt = await restoreVolume(request, { origin, clock: parts.clock, tell }, parts.signal)
    if (parts.err.isTerminal && !json) parts.err.write('\n')
    parts.out.write(json ? `${JSON.stringify({ receipt })}\n` : describeReceipt(receipt))
  } catch (error) {
    if (!(error instanceof VolumeIncomplete) || !json) throw error
    parts.out.write(`${JSON.stringify({ receipt: error.receipt })}\n`)
    parts.exitWith(exitStatus.notVerified)
  }
}

/** By its own name, so that what stands beside it is found by whatever name it is called. */
function targetAt(given: string): string {
  if (!existsSync(given)) return given
  const target = realpathSync(given)
  const loop = loopOver(target)
  if (loop === undefined) return target
  throw new TidemarkError('target-not-empty', {
    message: `${target} is the file behind ${loop}, which may be in use`,
    hint: `end that first ("losetup -d ${loop}"), or restore to ${loop}`,
  })
}

function describeProgress({ stage, bytes, bytesTotal, leftMs }: VolumeProgress): string {
  const left = leftMs === undefined ? '' : `, ${formatDurationMs(leftMs)} left`
  return `${stage}: ${formatBytes(bytes)}/${formatBytes(bytesTotal)}${left}`
}

function describeReceipt(receipt: VolumeReceipt): string {
  const { source, moment, target, bytes, dataBytes, writtenBytes, seconds, verifiedStretches } = receipt
  const rate = seconds > 0 ? `, ${formatBytes(bytes / seconds)}/s` : ''
  return (
    `restored ${source} as of ${formatMoment(moment)} (seq:${receipt.at}) to ${target}\n` +
    `  ${formatBytes(bytes)}, of it ${formatBytes(dataBytes)} data, ${formatBytes(writtenBytes)} written, ` +
    `in ${formatDurationMs(seconds * 1000)}${rate}\n` +
    `  ${formatCount(verifiedStretches)} stretches checked against their names\n` +
    describeSuspect(source, receipt)
  )
}
