/**
 * The setting synchronous_standby_names: `[FIRST|ANY] count (name, …)`, or only the names, which is `FIRST 1`. A commit waits
 * for `count` of those that are connected: of FIRST for the ones that stand first, of ANY for any. Names are those of
 * application_name, in any case; `*` is every one.
 */
export interface StandbyNames {
  readonly method: 'FIRST' | 'ANY'
  readonly count: number
  /** Without quotes; none for the empty setting. */
  readonly names: readonly string[]
}

const noNames: StandbyNames = { method: 'FIRST', count: 1, names: [] }

/** Of what a server says, which has checked it. */
export function parseStandbyNames(text: string): StandbyNames {
  const counted = /^\s*(?:(FIRST|ANY)\s*)?(\d+)\s*\((.*)\)\s*$/is.exec(text)
  const [, method, count, list] = counted ?? [undefined, undefined, '1', text]
  const names = [...(list ?? '').matchAll(/"((?:[^"]|"")*)"|([^\s,"]+)/g)].map(([, quoted, plain]) =>
    quoted === undefined ? (plain as string) : quoted.replaceAll('""', '"'),
  )
  return { method: method?.toUpperCase() === 'ANY' ? 'ANY' : 'FIRST', count: Number(count), names }
}

export function formatStandbyNames({ method, count, names }: StandbyNames): string {
  if (names.length === 0) return ''
  const list = names.map((name) => (name === '*' || /^[a-z_][a-z0-9_]*$/.test(name) ? name : quoted(name))).join(', ')
  return names.length === 1 && count === 1 ? list : `${method} ${count} (${list})`
}

const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`
const isSame = (one: string, other: string): boolean => one.toLowerCase() === other.toLowerCase()

export const isNamed = ({ names }: StandbyNames, name: string): boolean => names.some((one) => isSame(one, name))

/** While `name` is connected, no commit goes on without it. */
export function waitsFor({ method, count, names }: StandbyNames, name: string): boolean {
  const place = names.findIndex((one) => isSame(one, name))
  if (place < 0) return false
  return method === 'FIRST' ? place < count : count >= names.length && !names.includes('*')
}

/** Nor while it is not. */
export const waitsAlwaysFor = (setting: StandbyNames, name: string): boolean =>
  waitsFor(setting, name) && setting.count >= setting.names.length && !setting.names.includes('*')

/** As many of the others as before, and `name` first. */
export const withName = ({ count, names }: StandbyNames, name: string): StandbyNames =>
  names.length === 0
    ? { method: 'FIRST', count: 1, names: [name] }
    : { method: 'FIRST', count: count + 1, names: [name, ...names.filter((one) => !isSame(one, name))] }

/** As many of the others as there were besides `name`. */
export function withoutName(setting: StandbyNames, name: string): StandbyNames {
  const names = setting.names.filter((one) => !isSame(one, name))
  if (names.length === 0) return noNames
  const count = waitsFor(setting, name) ? setting.count - 1 : setting.count
  return { ...setting, count: Math.min(names.length, Math.max(1, count)), names }
}
