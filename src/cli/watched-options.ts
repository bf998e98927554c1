import type { Command } from 'commander'
import type { WatchedAddress } from '../monitoring/listen.ts'
import { parseAddress } from './option-values.ts'

/** What the commands that run until they are stopped tell to whoever watches them. */
export interface WatchedOptions {
  readonly metrics?: string | true
}

export const withWatchedOptions = (command: Command, port: number): Command =>
  command.option(
    '--metrics [host:port]',
    `tell metrics and health over HTTP to whoever asks there; without an address on ${defaultAddress(port)}`,
  )

export const watchedAddress = ({ metrics }: WatchedOptions, port: number): WatchedAddress | undefined =>
  metrics === undefined ? undefined : parseAddress(metrics === true ? defaultAddress(port) : metrics, '--metrics')

const defaultAddress = (port: number): string => `127.0.0.1:${port}`
