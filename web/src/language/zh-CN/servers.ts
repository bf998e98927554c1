import type { Texts } from '../en.ts'

export const servers: Texts['servers'] = {
  name: '主站',
  vault: '从站',
  none: '尚未注册主站',
  noneHint: '请注册一台服务器：平台会给出一行命令，粘贴到该服务器的终端执行即可。',
}
