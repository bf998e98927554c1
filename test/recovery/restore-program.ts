import { systemClock } from '../../src/base/clock.ts'
import { treePath } from '../../src/model/path.ts'
import { restore } from '../../src/recover/restore.ts'
import { unfinishedRestore } from '../../src/recover/state-folder.ts'
import { directoryOrigin } from './directory-origin.ts'

/** Restores the directory `source` as srv/docs into `target`, as a process of its own that can be killed. */
const [source = '', target = ''] = process.argv.slice(2)
const origin = directoryOrigin(source, treePath('srv/docs'))
const resume = unfinishedRestore(target) !== undefined
const parts = { origin, clock: systemClock, tell: () => {} }
const receipt = await restore({ source: 'docs', paths: [], target, resume }, parts, new AbortController().signal)
process.stdout.write(JSON.stringify(receipt))
