import type { Texts } from '../en.ts'

export const units: Texts['units'] = { ms: '毫秒', s: '秒', min: '分', h: '小时', d: '天' }
