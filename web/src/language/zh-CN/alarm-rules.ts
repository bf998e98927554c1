import type { Texts } from '../en.ts'

const because = (reason: string): string => (reason === '' ? '' : `（${reason}）`)

export const alarmRules: Texts['alarmRules'] = {
  'vault-away': {
    is: ({ vault, error }) => `从站 ${vault} 无法连接${because(error)}`,
    next: () => '请检查从站是否在运行以及链路是否正常；各主站会自行继续。',
  },
  'vault-full': {
    is: ({ vault }) => `从站 ${vault} 空间已满，不再确认任何变更`,
    next: () => '请在其文件系统上腾出空间，之后会自动继续。',
  },
  'vault-damaged': {
    is: ({ vault, count, detail }) => `从站 ${vault} 有 ${count} 处损坏：${detail}`,
    next: () => '请保持从站现状，检查其磁盘，并校验每个保护对象。',
  },
  'vault-fills': {
    is: ({ vault, days, freePercent, freeBytes }) =>
      days === ''
        ? `从站 ${vault} 仅剩 ${freePercent}% 空间（${freeBytes}）`
        : `从站 ${vault} 预计 ${days} 天后写满（剩余 ${freeBytes}）`,
    next: () => '请扩容，或缩短某个保护对象的 CDP 窗口：“从站”页面会显示将删除哪些历史。',
  },
  'agent-gone': {
    is: ({ agent, vault, sources }) => `主站 ${agent} 与从站 ${vault} 失去联系，${sources} 个保护对象当前未受保护`,
    next: () => '请检查该服务器是否在运行，启动主站或修复链路；之后会自动追平。',
  },
  'certificate-ends': {
    is: ({ agent, vault, days }) =>
      `${agent === '' ? '本集中管理平台' : `主站 ${agent} `}在从站 ${vault} 的证书将在 ${days} 天后到期`,
    next: () => '请保持其运行并连接，证书会自动续期；若已过期，请使用新令牌。',
  },
  'source-stalled': {
    is: ({ source, lagMs }) => `${source} 停滞：已有 ${lagMs} 没有数据落盘`,
    next: () => '请查看其问题列表和主站日志；若没有线索，请重启主站。',
  },
  'source-late': {
    is: ({ source, lagMs, lagMsMax }) => `${source} 滞后 ${lagMs}，上限为 ${lagMsMax}`,
    next: () => '请查看链路流量以及是否有限速生效；之后会自动追平。',
  },
  'source-damaged': {
    is: ({ source, detail }) => `${source} 的日志已损坏${because(detail)}`,
    next: () => '请保持从站现状；对该保护对象执行校验，会指出损坏之处。',
  },
  'source-vanished': {
    is: ({ source, detail }) => `${source} 所保护的路径已消失${because(detail)}`,
    next: () => '请重新挂载；在此之前不会把任何内容视为已删除。',
  },
  'source-paused': {
    is: ({ source }) => `${source} 已暂停保护，其变更不再捕获`,
    next: () => '维护结束后请恢复保护；若不清楚是谁暂停的，请检查该服务器和审计日志。',
  },
  'source-problem': {
    is: ({ source, detail, more }) =>
      `${source}：${detail}${more === '0' || more === '' ? '' : `（另有 ${more} 个问题）`}`,
    next: ({ next }) => (next === '' ? '其业务系统页面列出了全部问题。' : next),
  },
  'hole': {
    is: ({ source, from, until, reason }) =>
      `${source} 的历史出现空洞：自 ${from}${until === '' ? ' 起，仍在持续' : ` 至 ${until}`}${because(reason)}`,
    next: () => '空洞内的时刻无法恢复；请查明缓存队列为何写满或捕获为何中断。',
  },
  'slot-near-limit': {
    is: ({ source, detail }) => `${source} 的复制槽接近上限：${detail}`,
    next: () => '请恢复到从站的链路，或允许服务器保留更多日志。',
  },
  'verification-failed': {
    is: ({ source, detail }) => `${source} 校验失败${because(detail)}`,
    next: () => '请校验更早的时刻，保持从站现状，并查看该任务的日志。',
  },
  'verification-old': {
    is: ({ source, days, ever }) =>
      ever === '0' ? `${source} 已受保护 ${days} 天，从未校验` : `${source} 上次校验是在 ${days} 天前`,
    next: () => '请执行校验：其业务系统页面上有按钮。',
  },
}
