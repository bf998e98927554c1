import type { Texts } from '../en.ts'

export const systems: Texts['systems'] = {
  search: '搜索业务系统或保护对象',
  name: '业务系统',
  state: '状态',
  sources: '保护对象',
  servers: '主站',
  lag: '滞后',
  window: '最早可恢复到',
  problem: '下一步',
  states: '状态筛选',
  noneFound: '没有符合条件的业务系统',
  noneFoundHint: '请调整搜索内容或状态筛选。',
  restore: '恢复',
  notYet: '暂无',
}
