import type { z } from 'zod'
import type { language } from '../../api/console.ts'
import { english } from './en.ts'
import type { Language } from './language.ts'
import { chinese } from './zh-CN.ts'

export const languages: Readonly<Record<z.infer<typeof language>, Language>> = { 'en': english, 'zh-CN': chinese }
