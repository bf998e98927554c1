import { Drawer, Form, Input, Radio } from 'antd'
import type { ReactNode } from 'react'
import type { z } from 'zod'
import type { Role, User, userAnswer } from '../../../src/api/console.ts'
import { useChange } from '../api/changes.ts'
import { request } from '../api/client.ts'
import { useTexts } from '../language/language.ts'
import { FormEnd } from '../shell/form-end.tsx'

type UserAnswer = z.infer<typeof userAnswer>

interface Fields {
  readonly name: string
  readonly role: Role
}

const roles: readonly Role[] = [
  'viewer',
  'operator',
  'system-administrator',
  'security-administrator',
  'audit-administrator',
]

/** A new account, or another role of one that there is. */
export function RoleDrawer({
  edited,
  onClose,
  onMade,
}: {
  edited: User | 'new' | null
  onClose: () => void
  onMade: (answer: UserAnswer) => void
}): ReactNode {
  const t = useTexts()
  const user = edited === 'new' || edited === null ? undefined : edited
  const { ask, isBusy, failure, forget } = useChange(
    async ({ name, role }: Fields) => {
      if (user === undefined) onMade(await request<UserAnswer>('POST', '/users', { name, role }))
      else await request('PATCH', `/users/${encodeURIComponent(user.name)}`, { role })
    },
    { touches: [['users']] },
  )
  const close = (): void => {
    forget()
    onClose()
  }
  return (
    <Drawer
      open={edited !== null}
      onClose={close}
      destroyOnHidden
      size={440}
      title={user === undefined ? t.users.add : t.users.roleTitle(user.name)}
    >
      <Form<Fields>
        layout="vertical"
        requiredMark={false}
        initialValues={{ role: user?.role ?? 'viewer' }}
        onFinish={(fields) => void ask(fields).then((isDone) => isDone && close())}
      >
        {user === undefined ? (
          <Form.Item
            name="name"
            label={t.users.name}
            extra={t.users.nameRule}
            rules={[{ required: true, pattern: /^[\p{L}\p{N}][\p{L}\p{N}._-]{0,62}$/u, message: t.users.nameRule }]}
          >
            <Input autoComplete="off" maxLength={63} />
          </Form.Item>
        ) : null}
        <Form.Item name="role" label={t.users.role}>
          <Radio.Group className="role-choice">
            {roles.map((role) => (
              <Radio key={role} value={role}>
                <strong>{t.shell.roles[role]}</strong>
                <span className="quiet">{t.users.duties[role]}</span>
              </Radio>
            ))}
          </Radio.Group>
        </Form.Item>
        <FormEnd failure={failure} isBusy={isBusy} word={t.users.save} />
      </Form>
    </Drawer>
  )
}
