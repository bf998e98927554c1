/**
 * The container inside @peculiar/x509 asks for metadata of classes through three functions that the language does not
 * have (yet). These are all it needs; import this file before the library.
 */
interface Metadata {
  getMetadata?: (key: unknown, of: object) => unknown
  getOwnMetadata?: (key: unknown, of: object) => unknown
  defineMetadata?: (key: unknown, value: unknown, of: object) => void
}

const kept = new WeakMap<object, Map<unknown, unknown>>()
const own = (key: unknown, of: object): unknown => kept.get(of)?.get(key)

const reflect: Metadata & Pick<typeof Reflect, 'get'> = Reflect
reflect.getOwnMetadata ??= own
reflect.getMetadata ??= (key, of) => {
  for (let at: object | null = of; at !== null; at = Object.getPrototypeOf(at) as object | null) {
    const value = own(key, at)
    if (value !== undefined) return value
  }
  return undefined
}
reflect.defineMetadata ??= (key, value, of) => {
  const entries = kept.get(of) ?? new Map<unknown, unknown>()
  kept.set(of, entries.set(key, value))
}
