import { useSyncExternalStore } from 'react'

/** What a person chose in this browser. */
export interface Preferences {
  readonly language: LanguageName
  readonly theme: ThemeChoice
  readonly isNavigationNarrow: boolean
}
export type LanguageName = 'zh-CN' | 'en'
export type ThemeChoice = 'light' | 'dark' | 'system'

const storageKey = 'tidemark.preferences'
const listeners = new Set<() => void>()
let preferences = read()

export const usePreferences = (): Preferences => useSyncExternalStore(subscribe, () => preferences)

export function prefer(change: Partial<Preferences>): void {
  preferences = { ...preferences, ...change }
  localStorage.setItem(storageKey, JSON.stringify(preferences))
  for (const listener of listeners) listener()
}

function read(): Preferences {
  const kept = parsed(localStorage.getItem(storageKey))
  return {
    language: kept.language === 'en' || kept.language === 'zh-CN' ? kept.language : ofBrowser(),
    theme: kept.theme === 'light' || kept.theme === 'dark' ? kept.theme : 'system',
    isNavigationNarrow: kept.isNavigationNarrow === true,
  }
}

function parsed(text: string | null): Partial<Preferences> {
  try {
    return (text === null ? {} : JSON.parse(text)) as Partial<Preferences>
  } catch {
    // Not ours, or from another time: the defaults hold.
    return {}
  }
}

/** The first language of the browser that the console speaks. */
function ofBrowser(): LanguageName {
  const spoken = navigator.languages.map((tag) => tag.toLowerCase().split('-')[0])
  return spoken.find((tag) => tag === 'zh' || tag === 'en') === 'zh' ? 'zh-CN' : 'en'
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener)
  return () => listeners.delete(listener)
}
