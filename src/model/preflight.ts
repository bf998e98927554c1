/**
 * Every sentence that a pre-flight check can say, by a code that never changes its meaning, with the facts that stand in it:
 * bytes, milliseconds and counts as numbers, moments in ISO form. The console tells it in the language of who reads it.
 */
export interface PreflightFacts {
  'agent-connected': { readonly agent: string }
  'agent-away': { readonly agent: string }
  'point-there': { readonly sources: string }
  'point-unreachable': { readonly error: string }
  'point-damaged': { readonly error: string }
  'target-free': { readonly path: string }
  'target-filled': { readonly path: string; readonly name: string; readonly more: number }
  'target-begun': { readonly path: string }
  'target-begun-other': { readonly path: string; readonly source: string; readonly moment: string }
  'target-not-directory': { readonly path: string }
  'target-collides': { readonly path: string; readonly folder: string }
  'original-free': Readonly<Record<never, never>>
  'original-replaced': { readonly paths: string }
  'image-free': { readonly path: string }
  'image-filled': { readonly path: string }
  'image-not-possible': { readonly path: string }
  'device-small': { readonly path: string; readonly neededBytes: number; readonly deviceBytes: number }
  'device-in-use': { readonly path: string }
  'device-closed': { readonly path: string; readonly error: string }
  'room-enough': { readonly neededBytes: number; readonly freeBytes: number }
  'room-short': { readonly path: string; readonly neededBytes: number; readonly freeBytes: number }
  'entries-short': { readonly path: string; readonly needed: number; readonly free: number }
  'image-room-enough': { readonly neededBytes: number; readonly freeBytes: number }
  'image-room-short': { readonly neededBytes: number; readonly freeBytes: number }
  'writing-open': { readonly path: string }
  'writing-without-owners': Readonly<Record<never, never>>
  'writing-closed': { readonly path: string; readonly error: string }
  'way-open': Readonly<Record<never, never>>
  'way-closed': { readonly user: string; readonly path: string }
  'server-user-missing': { readonly user: string }
  'version-there': { readonly major: number }
  'version-missing': { readonly major: number }
  'port-none': Readonly<Record<never, never>>
  'duration-known': { readonly durationMs: number; readonly bytes: number; readonly bytesPerSecond: number }
  'duration-unknown': Readonly<Record<never, never>>
  /** What only a command line can bring about, in the words of the error. */
  'refused': { readonly error: string }
}

export type PreflightCode = keyof PreflightFacts

export interface PreflightFact<Code extends PreflightCode = PreflightCode> {
  readonly code: Code
  readonly values: PreflightFacts[Code]
}

export const preflightFact = <Code extends PreflightCode>(
  code: Code,
  values: PreflightFacts[Code],
): PreflightFact<Code> => ({ code, values })
