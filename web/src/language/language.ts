import { usePreferences } from '../shell/preferences.ts'
import { en, type Texts } from './en.ts'
import { zhCn } from './zh-CN.ts'

const languages: Record<'en' | 'zh-CN', Texts> = { 'en': en, 'zh-CN': zhCn }

/** Each language in its own words: for who does not read the one that is shown. */
export const languageNames = { 'zh-CN': '简体中文', 'en': 'English' } as const

/** All texts of the interface in the language chosen; always used as `t.PAGE.key`, which a test looks for. */
export const useTexts = (): Texts => languages[usePreferences().language]
