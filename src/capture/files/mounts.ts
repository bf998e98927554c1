import { readFileSync } from 'node:fs'
import type { TreePath } from '../../model/path.ts'

/** What is mounted, as text: another text says that something was mounted or unmounted. */
export class Mounts {
  #text = readMounts()

  /** Where something is mounted now, if that has changed since the last question. */
  takeChanged(): TreePath[] | undefined {
    const text = readMounts()
    if (text === this.#text) return undefined
    this.#text = text
    return mountPaths(text)
  }
}

const readMounts = (): string => readFileSync('/proc/self/mountinfo', 'latin1')

/** Mount points, field 5 of proc_pid_mountinfo(5), with its octal escapes. */
function mountPaths(mounts: string): TreePath[] {
  return mounts
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '/')
    .map((path) =>
      path.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8))),
    )
    .map((path) => path.slice(1) as TreePath)
}
