import type { AlarmValues } from '../alarms/rule.ts'
import type { Language } from './language.ts'

const text = (values: AlarmValues, name: string): string => String(values[name] ?? '')
const number = (values: AlarmValues, name: string): number => Number(values[name] ?? 0)
const gibibytes = (bytes: number): string => `${(bytes / 1024 ** 3).toFixed(1)} GiB`
/** `（原因）` where there is one. */
const because = (reason: string): string => (reason === '' ? '' : `（${reason}）`)

const units: readonly (readonly [name: string, ms: number])[] = [
  ['天', 86_400_000],
  ['小时', 3_600_000],
  ['分', 60_000],
  ['秒', 1000],
]

/** The two largest units: `2 小时 5 分`. */
function duration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} 毫秒`
  const first = units.findIndex(([, unit]) => ms >= unit)
  const [[name, unit] = ['秒', 1000], next] = units.slice(first)
  const rest = next === undefined ? 0 : Math.floor((ms % unit) / next[1])
  return `${Math.floor(ms / unit)} ${name}${next === undefined || rest === 0 ? '' : ` ${rest} ${next[0]}`}`
}

export const chinese: Language = {
  severities: { critical: '严重', warning: '警告', information: '提示' },
  alarms: {
    'vault-away': {
      is: (values) => `从站“${text(values, 'vault')}”无法连接${because(text(values, 'error'))}`,
      next: () => '请检查从站是否在运行（tidemark vault run）以及链路是否正常；各主站会自行继续',
    },
    'vault-full': {
      is: (values) => `从站“${text(values, 'vault')}”空间已满，不再确认任何变更`,
      next: () => '请在其文件系统上腾出空间，之后会自动继续',
    },
    'vault-damaged': {
      is: (values) => `从站“${text(values, 'vault')}”有 ${number(values, 'count')} 处损坏：${text(values, 'detail')}`,
      next: () => '请保持从站现状，检查其磁盘，并对每个保护对象执行 tidemark verify',
    },
    'vault-fills': {
      is: (values) =>
        values['days'] === undefined
          ? `从站“${text(values, 'vault')}”仅剩 ${number(values, 'freePercent')}% 空间（${gibibytes(number(values, 'freeBytes'))}）`
          : `从站“${text(values, 'vault')}”预计 ${number(values, 'days')} 天后写满（剩余 ${gibibytes(number(values, 'freeBytes'))}）`,
      next: () => '请扩容，或缩短某个保护对象的 CDP 窗口：“从站”页面会显示将删除哪些历史',
    },
    'agent-gone': {
      is: (values) =>
        `主站“${text(values, 'agent')}”与从站“${text(values, 'vault')}”失去联系，${number(values, 'sources')} 个保护对象当前未受保护`,
      next: () => '请检查该服务器是否在运行，启动主站（tidemark agent run）或修复链路；之后会自动追平',
    },
    'certificate-ends': {
      is: (values) =>
        `${values['agent'] === undefined ? '本集中管理平台' : `主站“${text(values, 'agent')}”`}在从站“${text(values, 'vault')}”的证书将在 ${number(values, 'days')} 天后到期`,
      next: (values) =>
        values['agent'] === undefined
          ? '请保持集中管理平台运行并连接，证书会自动续期；若已过期，请用新令牌重新添加该从站'
          : '请保持主站运行并连接，证书会自动续期；若已过期，请用新令牌重新注册该主站',
    },
    'source-stalled': {
      is: (values) => `“${text(values, 'source')}”停滞：已有 ${duration(number(values, 'lagMs'))}没有数据落盘`,
      next: () => '请查看其问题列表和主站日志；若没有线索，请重启主站',
    },
    'source-late': {
      is: (values) =>
        `“${text(values, 'source')}”滞后 ${duration(number(values, 'lagMs'))}，上限为 ${duration(number(values, 'lagMsMax'))}`,
      next: () => '请查看链路流量以及是否有限速生效；之后会自动追平',
    },
    'source-damaged': {
      is: (values) => `“${text(values, 'source')}”的日志已损坏${because(text(values, 'detail'))}`,
      next: () => '请保持从站现状；tidemark verify 会指出损坏之处',
    },
    'source-vanished': {
      is: (values) => `“${text(values, 'source')}”所保护的路径已消失${because(text(values, 'detail'))}`,
      next: () => '请重新挂载；在此之前不会把任何内容视为已删除',
    },
    'source-paused': {
      is: (values) => `“${text(values, 'source')}”已暂停保护，其变更不再捕获`,
      next: () => '维护结束后请恢复保护；若不清楚是谁暂停的，请检查该服务器和审计日志',
    },
    'source-problem': {
      is: (values) =>
        `“${text(values, 'source')}”有问题：${text(values, 'detail')}${number(values, 'more') > 0 ? `（另有 ${number(values, 'more')} 个问题）` : ''}`,
      next: (values) => text(values, 'next') || '其业务系统页面列出了全部问题',
    },
    'hole': {
      is: (values) =>
        `“${text(values, 'source')}”的历史出现空洞：自 ${text(values, 'from')}${text(values, 'until') === '' ? ' 起，仍在持续' : ` 至 ${text(values, 'until')}`}${because(text(values, 'reason'))}`,
      next: () => '空洞内的时刻无法恢复；请查明缓存队列为何写满或捕获为何中断',
    },
    'slot-near-limit': {
      is: (values) => `“${text(values, 'source')}”的复制槽接近上限：${text(values, 'detail')}`,
      next: () => '请恢复到从站的链路，或允许服务器保留更多日志',
    },
    'verification-failed': {
      is: (values) => `“${text(values, 'source')}”校验失败${because(text(values, 'detail'))}`,
      next: () => '请校验更早的时刻，保持从站现状，并查看该任务的日志',
    },
    'verification-old': {
      is: (values) =>
        number(values, 'ever') === 0
          ? `“${text(values, 'source')}”已受保护 ${number(values, 'days')} 天，从未校验`
          : `“${text(values, 'source')}”上次校验是在 ${number(values, 'days')} 天前`,
      next: () => '请执行校验：其业务系统页面上有按钮',
    },
  },
  message: {
    title: (first, more) => `[Tidemark] ${first}${more > 0 ? `（另有 ${more} 条）` : ''}`,
    raised: (severity, sentence) => `【${severity}】${sentence}`,
    worse: (severity, sentence) => `【升级为${severity}】${sentence}`,
    resolved: (sentence, lasted) => `【已恢复，持续 ${lasted}】${sentence}`,
    next: (hint) => `下一步：${hint}`,
    system: (system) => `业务系统：${system}`,
    vault: (vault) => `从站：${vault}`,
    began: (moment) => `开始时间：${moment}`,
    more: (count) => `另有 ${count} 条，请在集中管理平台的“告警”页面查看。`,
    lost: (count) => `有 ${count} 条消息未能及时发出，已放弃。`,
    test: (channel) => `这是通道“${channel}”的测试消息。告警将以同样的方式送达。`,
  },
  report: {
    system: '业务系统',
    month: '月份（UTC）',
    source: '保护对象',
    vault: '从站',
    measured: '已测量（秒）',
    expected: '应测量（秒）',
    p50: 'RPO 中位数（毫秒）',
    p95: 'RPO 95 分位（毫秒）',
    p99: 'RPO 99 分位（毫秒）',
    max: 'RPO 最大值（毫秒）',
    late: '超限（秒）',
    changes: '变更数',
    bytes: '字节数',
    lagUpTo: 'RPO 不超过（毫秒）',
    lagAbove: '以上',
    seconds: '秒数',
    holes: '空洞',
    from: '开始',
    until: '结束',
    reason: '原因',
    verifications: '校验',
    at: '时间',
    result: '结果',
    good: '通过',
    bad: '失败',
    restores: '恢复',
    by: '操作人',
    state: '状态',
    alarms: '告警',
    severity: '级别',
    rule: '告警内容',
    acknowledged: '确认人',
  },
  duration,
}
