import type { Texts } from '../en.ts'

export const signIn: Texts['signIn'] = {
  title: '登录',
  user: '用户名',
  userNeeded: '请输入用户名',
  password: '密码',
  passwordNeeded: '请输入密码',
  enter: '登录',
  code: '动态验证码',
  codeHint: '手机验证器应用中的六位数字。',
  codeNeeded: '请输入六位数字',
  otherUser: '换一个用户登录',
  forgotten: '忘记密码？请联系安全管理员重置。',
  changeTitle: '设置新密码',
  changeHint: '初始密码仅供首次登录。设置自己的密码之前，无法使用其他功能。',
  oldPassword: '当前密码',
  newPassword: '新密码',
  newPasswordNeeded: '请输入新密码',
  repeated: '再次输入新密码',
  differs: '两次输入不一致',
  change: '修改密码',
}
