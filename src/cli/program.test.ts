import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Command } from 'commander'
import { systemClock } from '../base/clock.ts'
import { systemRandom } from '../base/random.ts'
import type { Parts, Terminal } from './parts.ts'
import { makeProgram } from './program.ts'

const terminal: Terminal = { write: () => undefined, isTerminal: false, drained: () => Promise.resolve() }
const parts: Parts = {
  clock: systemClock,
  random: systemRandom,
  out: terminal,
  err: terminal,
  environment: {},
  isRoot: false,
  signal: new AbortController().signal,
  exitWith: () => undefined,
}

function helpOf(command: Command): string {
  let text = ''
  command.configureOutput({ writeOut: (piece) => (text += piece) }).outputHelp()
  return text
}

const leaves = (command: Command): Command[] =>
  command.commands.length === 0 ? [command] : command.commands.flatMap(leaves)

test('the help of every command has an example and names the exit statuses', () => {
  for (const command of leaves(makeProgram(parts))) {
    if (command.name() === 'help') continue
    const help = helpOf(command)
    assert.match(help, /Examples?:\n/, command.name())
    assert.match(help, /Exit status: 0 done/, command.name())
    assert.notEqual(command.description(), '', command.name())
  }
})

test('every option is explained', () => {
  for (const command of leaves(makeProgram(parts))) {
    for (const option of command.options) assert.notEqual(option.description, '', `${command.name()} ${option.flags}`)
  }
})
