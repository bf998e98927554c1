import type { Texts } from '../en.ts'

export const overview: Texts['overview'] = {
  systems: '业务系统',
  system: '业务系统',
  state: '状态',
  lag: '滞后',
  noVault: '集中管理平台尚未接入从站',
  noVaultHint: '在从站上运行“tidemark vault token --console”，然后在“从站”页面填入其地址和该令牌。',
  noSystem: '尚未保护任何对象',
  noSystemHint: '先在“主站”页面注册服务器，再选择要保护的内容。',
}
