import type { Texts } from '../en.ts'

export const thresholds: Texts['thresholds'] = {
  everything: '默认',
  ofSystem: '业务系统',
  lagMax: '滞后上限（秒）',
  lagMaxHint: '留空：按保护对象自己的策略。',
  agentGone: '主站失联判定（秒）',
  certificate: '证书到期提前（天）',
  full: '从站写满提前（天）',
  verification: '上次成功校验超过（天）',
  asPolicy: '按策略',
  edit: '修改',
  add: '为业务系统单独设置',
  remove: '恢复默认',
  removed: (system) => `${system} 已恢复使用默认阈值。`,
  saved: '阈值已生效。',
  save: '保存',
  titleOf: (name) => `${name} 的阈值`,
  titleNew: '为业务系统单独设置阈值',
  about: '超过这些值即产生告警。单独设置的业务系统不使用默认值。',
  chooseSystem: '请选择业务系统',
  needed: '请填写数值',
}
