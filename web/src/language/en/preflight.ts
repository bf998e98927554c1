import type { PreflightSentences } from '../../../../src/api/tasks.ts'

/** What a pre-flight check says, by its code; what stands in it is in its unit already. */
export type PreflightTexts = {
  readonly [Code in keyof PreflightSentences]: {
    readonly is: (words: { readonly [Name in keyof PreflightSentences[Code]]: string }) => string
    /** The next step, where it is not well. */
    readonly next?: string
  }
}

const elsewhere = 'Choose an empty directory, or one that does not exist yet.'

export const preflight: PreflightTexts = {
  'agent-connected': { is: ({ agent }) => `Agent ${agent} is connected.` },
  'agent-away': {
    is: ({ agent }) => `Agent ${agent} is not connected.`,
    next: 'Start it, or restore the line to it. The checks on its server are made once it is back.',
  },
  'point-there': { is: ({ sources }) => `There is a recovery point of ${sources}.` },
  'point-unreachable': {
    is: ({ error }) => `There is no recovery point here: ${error}`,
    next: 'Choose another moment on the timeline.',
  },
  'point-damaged': {
    is: ({ error }) => `The journal is damaged there: ${error}`,
    next: 'Choose an earlier moment, and verify the source.',
  },
  'target-free': { is: ({ path }) => `${path} is empty or does not exist yet: nothing is overwritten.` },
  'target-filled': {
    is: ({ path, name, more }) => `${path} is not empty: it holds “${name}”${more === '0' ? '' : ` and ${more} more`}.`,
    next: elsewhere,
  },
  'target-begun': { is: ({ path }) => `${path} holds a restore that was not finished.`, next: elsewhere },
  'target-begun-other': {
    is: ({ path, source, moment }) => `${path} holds an unfinished restore of ${source} to ${moment}.`,
    next: 'Resume that one on the page Tasks, or choose another place.',
  },
  'target-not-directory': { is: ({ path }) => `${path} is not a directory.`, next: elsewhere },
  'target-collides': {
    is: ({ path, folder }) => `${path} is within ${folder}: data directory and tablespaces must not overlap.`,
    next: 'Choose another directory.',
  },
  'original-free': { is: () => 'There is nothing at the original place now.' },
  'original-replaced': {
    is: ({ paths }) => `What is at ${paths} now is replaced.`,
    next: 'It is kept beside it, with “.before-” and the place in the journal after its name, until you remove it.',
  },
  'image-free': { is: ({ path }) => `Nothing is overwritten at ${path}.` },
  'image-filled': { is: ({ path }) => `${path} holds something already.`, next: 'Choose the name of a new file.' },
  'image-not-possible': {
    is: ({ path }) => `${path} is neither a file nor a block device.`,
    next: 'Give the name of a new file, or a device.',
  },
  'device-small': {
    is: ({ path, neededBytes, deviceBytes }) => `The volume has ${neededBytes}, and ${path} only ${deviceBytes}.`,
    next: 'Choose a larger device, or a file.',
  },
  'device-in-use': {
    is: ({ path }) => `${path} is mounted or in use.`,
    next: 'Unmount it, or choose another target.',
  },
  'device-closed': {
    is: ({ path, error }) => `${path} cannot be written: ${error}`,
    next: 'Run the agent as a user who may write there.',
  },
  'room-enough': { is: ({ neededBytes, freeBytes }) => `${neededBytes} needed, ${freeBytes} free.` },
  'room-short': {
    is: ({ path, neededBytes, freeBytes }) => `${neededBytes} needed, and ${path} has only ${freeBytes} free.`,
    next: 'Free some space, choose another place, or restore only some of the paths.',
  },
  'entries-short': {
    is: ({ path, needed, free }) => `${needed} inodes needed, and the file system of ${path} has only ${free}.`,
    next: 'Choose a place on a file system with more inodes.',
  },
  'image-room-enough': { is: ({ neededBytes, freeBytes }) => `At most ${neededBytes} needed, ${freeBytes} free.` },
  'image-room-short': {
    is: ({ neededBytes, freeBytes }) => `Up to ${neededBytes} needed, and only ${freeBytes} free.`,
    next: 'It fits if enough of the volume is zeros; better free some space first.',
  },
  'writing-open': { is: ({ path }) => `The agent may write to ${path}.` },
  'writing-without-owners': {
    is: () => 'The agent does not run as root: owners and attributes that only root may set are not restored.',
    next: 'Run the agent as root where they have to be restored.',
  },
  'writing-closed': {
    is: ({ path, error }) => `The agent may not write to ${path}: ${error}`,
    next: 'Choose another place, or run the agent as a user who may.',
  },
  'way-open': { is: () => 'The user of the database server can reach the directory.' },
  'way-closed': {
    is: ({ user, path }) => `The database server runs as ${user}, who may not enter ${path}.`,
    next: 'Choose a directory that this user can reach.',
  },
  'server-user-missing': {
    is: ({ user }) => `There is no user ${user} to run the database server as.`,
    next: 'Create the user on that server.',
  },
  'version-there': { is: ({ major }) => `PostgreSQL ${major} is installed there.` },
  'version-missing': {
    is: ({ major }) => `PostgreSQL ${major} was not found there.`,
    next: 'Install it on that server; without it the database is restored but not started.',
  },
  'port-none': { is: () => 'The restored database listens on no network port: nothing to collide with.' },
  'duration-known': {
    is: ({ durationMs, bytes, bytesPerSecond }) =>
      `About ${durationMs} for ${bytes}, at the ${bytesPerSecond} measured just now.`,
  },
  'duration-unknown': { is: () => 'How long it takes is not known: too little could be read to measure.' },
  'refused': { is: ({ error }) => `Not possible: ${error}` },
}
