import { pino } from 'pino'
import { TidemarkError } from '../base/errors.ts'
import type { BatchTold, Facts, Tell, TellBatch } from '../base/tell.ts'

export const logFormats = ['text', 'json'] as const
export type LogFormat = (typeof logFormats)[number]
export const logLevels = ['error', 'warn', 'info', 'debug'] as const
export type LogLevel = (typeof logLevels)[number]

export interface LogRequest {
  readonly process: string
  readonly format: LogFormat
  readonly level: LogLevel
}

export interface Log {
  readonly tell: Tell
  /** Only at level `debug`. */
  readonly tellBatch?: TellBatch
}

/**
 * The log of a process: for people the lines alone, for programs an object of JSON a line. Only what is named here gets into it, so
 * that no secret can come along with something else.
 */
export function openLog({ process, format, level }: LogRequest, write: (text: string) => void): Log {
  if (format === 'text') return textLog(level, write)
  const log = pino(
    {
      level,
      base: { process },
      messageKey: 'message',
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    { write },
  )
  return {
    tell: (line, facts = {}) => log[levelOf(facts)](named(facts), line),
    ...(level === 'debug' ? { tellBatch: (told: BatchTold) => log.debug(told, 'batch') } : {}),
  }
}

function textLog(level: LogLevel, write: (text: string) => void): Log {
  const worst = logLevels.indexOf(level)
  return {
    tell: (line, facts = {}) => {
      if (logLevels.indexOf(levelOf(facts)) <= worst) write(`${line}\n`)
    },
    ...(level === 'debug' ? { tellBatch: (told: BatchTold) => write(`${batchLine(told)}\n`) } : {}),
  }
}

const levelOf = ({ level, error }: Facts): 'info' | 'warn' | 'error' =>
  level ?? (error === undefined ? 'info' : 'error')

/** The message of an error stands in the line; of a fault of the program the place it comes from is kept as well. */
function named({ source, agent, error }: Facts): Record<string, string> {
  const facts: Record<string, string> = {}
  if (source !== undefined) facts['source'] = source
  if (agent !== undefined) facts['agent'] = agent
  if (error instanceof TidemarkError) {
    facts['code'] = error.code
    if (error.hint !== undefined) facts['hint'] = error.hint
  } else if (error instanceof Error && error.stack !== undefined) facts['stack'] = error.stack
  return facts
}

const batchLine = ({ batch, first, last, bytes, source, ...times }: BatchTold): string =>
  [
    `batch ${batch}: changes ${first} to ${last}, ${bytes} bytes`,
    ...Object.entries(times).map(([what, at]) => `${what} ${at}`),
  ].join(', ')
