/** How numbers and tables look on a terminal. */

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']

export function formatBytes(bytes: number): string {
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`
}

export function formatDurationMs(ms: number): string {
  if (ms < 1000) return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`
  const seconds = ms / 1000
  if (seconds < 60) return `${seconds.toFixed(1)} s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return `${minutes} min ${Math.round(seconds % 60)} s`
  const hours = Math.floor(minutes / 60)
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`
}

export const formatCount = (count: number): string => count.toLocaleString('en-US')

/** Columns padded to their widest cell, the given ones to the right; CJK characters count as two columns. */
export function formatTable(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  right: readonly number[] = [],
) {
  const all = [head, ...rows]
  const widths = head.map((_, column) => Math.max(...all.map((row) => columns(row[column] ?? ''))))
  const line = (row: readonly string[]): string =>
    widths
      .map((width, column) => {
        const cell = row[column] ?? ''
        const padding = ' '.repeat(width - columns(cell))
        return right.includes(column) ? padding + cell : cell + padding
      })
      .join('  ')
      .trimEnd()
  return `${all.map(line).join('\n')}\n`
}

const columns = (text: string): number => {
  let count = 0
  for (const character of text)
    count += /[\u1100-\u115f\u2e80-\u9fff\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60\uffe0-\uffe6]/u.test(
      character,
    )
      ? 2
      : 1
  return count
}

const typeLetters: Record<string, string> = {
  'directory': 'd',
  'file': '-',
  'symlink': 'l',
  'fifo': 'p',
  'socket': 's',
  'character-device': 'c',
  'block-device': 'b',
}

/** `drwxr-x---`, as ls writes it. */
export function formatMode(type: string, mode: number): string {
  const letters = ['r', 'w', 'x', 'r', 'w', 'x', 'r', 'w', 'x'].map((letter, bit) =>
    mode & (0o400 >> bit) ? letter : '-',
  )
  if (mode & 0o4000) letters[2] = letters[2] === 'x' ? 's' : 'S'
  if (mode & 0o2000) letters[5] = letters[5] === 'x' ? 's' : 'S'
  if (mode & 0o1000) letters[8] = letters[8] === 'x' ? 't' : 'T'
  return (typeLetters[type] ?? '?') + letters.join('')
}
