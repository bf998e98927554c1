/** What an alarm says, by what stands in it: each already in its unit, and empty where it is not told. */
export interface AlarmWords {
  readonly vault: string
  readonly agent: string
  readonly source: string
  readonly error: string
  readonly detail: string
  readonly count: string
  readonly days: string
  readonly freeBytes: string
  readonly freePercent: string
  readonly sources: string
  readonly lagMs: string
  readonly lagMsMax: string
  readonly more: string
  readonly next: string
  readonly from: string
  readonly until: string
  readonly reason: string
  readonly ever: string
}

interface AlarmTexts {
  readonly is: (words: AlarmWords) => string
  readonly next: (words: AlarmWords) => string
}

const because = (reason: string): string => (reason === '' ? '' : ` (${reason})`)

export const alarmRules = {
  'vault-away': {
    is: ({ vault, error }) => `Vault ${vault} cannot be reached${because(error)}`,
    next: () => 'Check that it runs and that the line to it is up. Agents go on by themselves.',
  },
  'vault-full': {
    is: ({ vault }) => `Vault ${vault} is full: nothing is acknowledged`,
    next: () => 'Make room on its file system. It goes on by itself.',
  },
  'vault-damaged': {
    is: ({ vault, count, detail }) => `Vault ${vault} has ${count} damaged parts: ${detail}`,
    next: () => 'Keep the vault as it is, see to its disk, and verify each source.',
  },
  'vault-fills': {
    is: ({ vault, days, freePercent, freeBytes }) =>
      days === ''
        ? `Vault ${vault} has ${freePercent} % free (${freeBytes})`
        : `Vault ${vault} will be full in ${days} d (${freeBytes} free)`,
    next: () => 'Add room, or shorten the window of a source: the page Vaults shows what that would delete.',
  },
  'agent-gone': {
    is: ({ agent, vault, sources }) => `Agent ${agent} has lost vault ${vault}; sources not protected now: ${sources}`,
    next: () => 'Check that its server is up, start the agent, or restore the line. It catches up by itself.',
  },
  'certificate-ends': {
    is: ({ agent, vault, days }) =>
      `The certificate of ${agent === '' ? 'this console' : `agent ${agent}`} for vault ${vault} expires in ${days} d`,
    next: () => 'Keep it running and connected: it is renewed by itself. If it has expired, use a new token.',
  },
  'source-stalled': {
    is: ({ source, lagMs }) => `${source} has stalled: nothing has become durable for ${lagMs}`,
    next: () => 'Look at its problems and at the log of its agent. If they say nothing, restart the agent.',
  },
  'source-late': {
    is: ({ source, lagMs, lagMsMax }) => `${source} is ${lagMs} behind; the limit is ${lagMsMax}`,
    next: () => 'Check the throughput of the line and any bandwidth limit. It catches up by itself.',
  },
  'source-damaged': {
    is: ({ source, detail }) => `The journal of ${source} is damaged${because(detail)}`,
    next: () => 'Keep the vault as it is. Verify the source: the result names what is wrong.',
  },
  'source-vanished': {
    is: ({ source, detail }) => `What ${source} protects is no longer there${because(detail)}`,
    next: () => 'Mount it again. Nothing is taken as deleted until then.',
  },
  'source-paused': {
    is: ({ source }) => `${source} is paused: no change of it is captured`,
    next: () =>
      'Resume it when the work is done. If nobody you know paused it, look at its server and at the audit log.',
  },
  'source-problem': {
    is: ({ source, detail, more }) => `${source}: ${detail}${more === '0' || more === '' ? '' : ` (and ${more} more)`}`,
    next: ({ next }) => (next === '' ? 'The page of its system shows all of its problems.' : next),
  },
  'hole': {
    is: ({ source, from, until, reason }) =>
      `The history of ${source} has a hole from ${from}${until === '' ? ', and it goes on' : ` to ${until}`}${because(reason)}`,
    next: () => 'Moments within it cannot be restored. See what filled the queue or broke the capture.',
  },
  'slot-near-limit': {
    is: ({ source, detail }) => `The log kept for ${source} is near its limit: ${detail}`,
    next: () => 'Bring the line to the vault back, or allow the server to keep more log.',
  },
  'verification-failed': {
    is: ({ source, detail }) => `The verification of ${source} failed${because(detail)}`,
    next: () => 'Verify an earlier moment, keep the vault as it is, and see the log of the task.',
  },
  'verification-old': {
    is: ({ source, days, ever }) =>
      ever === '0'
        ? `${source} has been protected for ${days} d and was never verified`
        : `${source} was last verified ${days} d ago`,
    next: () => 'Verify it: the page of its system has the button.',
  },
} satisfies Record<string, AlarmTexts>
