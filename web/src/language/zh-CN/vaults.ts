import type { Texts } from '../en.ts'

export const vaults: Texts['vaults'] = { name: '从站', url: '地址', free: '剩余空间' }
