export const states = {
  /** Of a source; each with what it means and what to do next. */
  words: {
    protected: 'Protected',
    late: 'Late',
    stalled: 'Stalled',
    offline: 'Offline',
    unknown: 'Unknown',
    vanished: 'Vanished',
    damaged: 'Damaged',
    baseline: 'Baseline',
    reconciling: 'Comparing',
    waiting: 'Waiting',
    paused: 'Paused',
    retired: 'Ended',
  },
  sentences: {
    protected: 'Every change is durable at the vault within the allowed lag. Nothing to do.',
    late: 'Changes reach the vault, but later than the policy allows. Look at the throughput and the bandwidth limit of its server.',
    stalled:
      'The server is connected, but nothing becomes durable at the vault. Look at the problem named here and at the free space of the vault.',
    offline:
      'The server is not connected. Check that it runs, that its agent runs, and that the line to the vault is up.',
    unknown:
      'Its vault cannot be reached, so nobody here knows. Bring the line to that vault back; protection goes on meanwhile.',
    vanished: 'The protected path is gone. Mount or bring it back; nothing has been taken as deleted.',
    damaged:
      'Part of what the vault keeps cannot be read. Verify it, and let it be healed from another vault or take a new baseline.',
    baseline: 'The first full copy is being taken. It can be restored once it is complete.',
    reconciling: 'Everything is being compared with the source; until that ends the newest state may be incomplete.',
    waiting: 'It has been set up and has not begun. Its agent starts it when it is connected.',
    paused: 'Protection is paused by an administrator; changes are not kept. Resume it when the work is done.',
    retired: 'Protection has ended. What was kept can be restored until it leaves the window.',
  },
  loading: 'Loading',
  failedHint: 'Try again. If it stays so, look into the log of the console.',
  unreachable: 'The console does not answer',
  unreachableHint: 'Check that its process runs and that this PC reaches it; then try again.',
  strange: 'The answer was not that of a console',
  strangeHint: 'Something between this browser and the console answers in its place, a proxy perhaps. Reload the page.',
  again: 'Try again',
  code: 'Code',
  pageBroken: 'This page has failed',
  pageBrokenHint: 'Reload it. If it fails again, report the text below with the version of the console.',
  pageMissing: 'This page could not be fetched',
  pageMissingHint:
    'The console does not answer, or it has been upgraded since this window was opened. Reload once it answers.',
  reload: 'Reload',
}
