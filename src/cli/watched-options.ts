import { type Command, Option } from 'commander'
import type { WatchedAddress } from '../monitoring/listen.ts'
import { type Log, type LogFormat, logFormats, type LogLevel, logLevels, openLog } from '../monitoring/log.ts'
import { parseAddress } from './option-values.ts'
import type { Parts } from './parts.ts'

/** What the processes that run until they are stopped tell to whoever watches them. */
export interface WatchedOptions {
  readonly metrics?: string | true
  readonly logFormat: LogFormat
  readonly logLevel: LogLevel
}

const ports = { vault: 9433, agent: 9434, console: 9435 } as const
type ProcessName = keyof typeof ports

const defaultAddress = (name: ProcessName): string => `127.0.0.1:${ports[name]}`

export const withWatchedOptions = (command: Command, name: ProcessName): Command =>
  command
    .option(
      '--metrics [host:port]',
      `tell metrics and health over plain HTTP to whoever asks there; without an address on ${defaultAddress(name)}`,
    )
    .addOption(
      new Option('--log-format <format>', 'lines for people, or an object of JSON a line')
        .choices(logFormats)
        .default('text'),
    )
    .addOption(
      new Option('--log-level <level>', 'the least that is told; "debug" tells the way of every batch')
        .choices(logLevels)
        .default('info'),
    )

export const watchedAddress = ({ metrics }: WatchedOptions, name: ProcessName): WatchedAddress | undefined =>
  metrics === undefined ? undefined : parseAddress(metrics === true ? defaultAddress(name) : metrics, '--metrics')

export const processLog = ({ logFormat, logLevel }: WatchedOptions, name: ProcessName, { err }: Parts): Log =>
  openLog({ process: name, format: logFormat, level: logLevel }, (text) => err.write(text))
