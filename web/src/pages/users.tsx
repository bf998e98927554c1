import { MoreOutlined, PlusOutlined } from '@ant-design/icons'
import { useQuery } from '@tanstack/react-query'
import { App, Button, Dropdown, Modal, Table } from 'antd'
import { type ReactNode, useState } from 'react'
import type { z } from 'zod'
import type { User, userAnswer, userChange } from '../../../src/api/console.ts'
import { RoleDrawer } from '../account/role-drawer.tsx'
import { useChange } from '../api/changes.ts'
import { get, request } from '../api/client.ts'
import { useMe } from '../api/session.ts'
import { useFormats } from '../formats/formats.ts'
import { useTexts } from '../language/language.ts'
import { CopyLine } from '../shell/copy-line.tsx'
import { Failed, Loading } from '../shell/states.tsx'
import '../account/account.css'

type UserAnswer = z.infer<typeof userAnswer>
type UserChange = z.infer<typeof userChange>

export function Component(): ReactNode {
  const t = useTexts()
  const { data, error, refetch } = useQuery({
    queryKey: ['users'],
    queryFn: ({ signal }) => get<User[]>('/users', signal),
  })
  const [edited, edit] = useState<User | 'new' | null>(null)
  const [told, tell] = useState<UserAnswer | null>(null)
  return (
    <section className="panel" aria-labelledby="users-title">
      <header>
        <h2 id="users-title">{t.users.accounts}</h2>
        <Button type="primary" icon={<PlusOutlined />} onClick={() => edit('new')}>
          {t.users.add}
        </Button>
      </header>
      {error !== null && data === undefined ? (
        <Failed failure={error} again={() => void refetch()} />
      ) : data === undefined ? (
        <Loading rows={6} />
      ) : (
        <UserTable rows={data} edit={edit} tell={tell} />
      )}
      <RoleDrawer edited={edited} onClose={() => edit(null)} onMade={tell} />
      <MadePassword told={told} onClose={() => tell(null)} />
    </section>
  )
}

function UserTable({
  rows,
  edit,
  tell,
}: {
  rows: readonly User[]
  edit: (user: User) => void
  tell: (answer: UserAnswer) => void
}): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  return (
    <Table<User>
      rowKey="name"
      size="small"
      pagination={false}
      scroll={{ x: 900 }}
      dataSource={[...rows]}
      rowClassName={({ enabled }) => (enabled ? '' : 'is-off')}
      columns={[
        { title: t.users.name, render: (_, { name }) => <strong>{name}</strong> },
        {
          title: t.users.role,
          render: (_, { role }) => (
            <div className="stack-tight">
              <span>{t.shell.roles[role]}</span>
              <span className="quiet">{t.users.duties[role]}</span>
            </div>
          ),
        },
        { title: t.users.totp, width: 110, render: (_, { hasTotp }) => (hasTotp ? t.users.totpOn : t.users.totpOff) },
        { title: t.users.created, width: 160, render: (_, { created }) => formats.moment(created) },
        {
          title: t.users.lastSignIn,
          width: 160,
          render: (_, { lastSignIn }) => (lastSignIn === null ? t.users.never : formats.moment(lastSignIn)),
        },
        {
          title: t.users.state,
          width: 150,
          render: (_, { enabled, mustChangePassword }) => (
            <div className="stack-tight">
              <span className={enabled ? 'tone-good' : 'tone-idle'}>
                {enabled ? t.users.enabled : t.users.disabled}
              </span>
              {enabled && mustChangePassword ? <span className="quiet">{t.users.mustChange}</span> : null}
            </div>
          ),
        },
        {
          title: <span className="only-read">{t.users.actions}</span>,
          width: 56,
          render: (_, user) => <UserActions user={user} edit={edit} tell={tell} />,
        },
      ]}
    />
  )
}

type Act = 'change' | 'resetPassword' | 'resetTotp' | 'disable' | 'enable'

function UserActions({
  user,
  edit,
  tell,
}: {
  user: User
  edit: (user: User) => void
  tell: (answer: UserAnswer) => void
}): ReactNode {
  const t = useTexts()
  const { me } = useMe()
  const { modal } = App.useApp()
  const { name, enabled, hasTotp } = user
  const { ask, failure } = useChange(
    async (change: UserChange) => {
      const answer = await request<UserAnswer>('PATCH', `/users/${encodeURIComponent(name)}`, change)
      if (answer.password !== undefined) tell(answer)
    },
    { done: () => t.users.changed(name), touches: [['users']] },
  )
  const confirm = (act: 'resetPassword' | 'resetTotp' | 'disable', change: UserChange): void => {
    void modal.confirm({
      title: t.users.asks[act](name),
      content: t.users.sentences[act],
      okText: t.users[act],
      okButtonProps: { danger: act === 'disable' },
      onOk: async () => {
        if (!(await ask(change))) throw new Error(act)
      },
    })
  }
  const does: Record<Act, () => void> = {
    change: () => edit(user),
    resetPassword: () => confirm('resetPassword', { resetPassword: true }),
    resetTotp: () => confirm('resetTotp', { resetTotp: true }),
    disable: () => confirm('disable', { enabled: false }),
    enable: () => void ask({ enabled: true }),
  }
  const items: Act[] = [
    // Nobody changes his own role, or shuts himself out.
    ...(me?.user === name ? [] : (['change'] as const)),
    'resetPassword',
    ...(hasTotp ? (['resetTotp'] as const) : []),
    ...(me?.user === name ? [] : [enabled ? ('disable' as const) : ('enable' as const)]),
  ]
  return (
    <>
      <Dropdown
        trigger={['click']}
        menu={{
          items: items.map((key) => ({ key, label: t.users[key], danger: key === 'disable' })),
          onClick: ({ key }) => does[key as Act](),
        }}
      >
        <Button type="text" icon={<MoreOutlined />} aria-label={t.users.actsOf(name)} />
      </Dropdown>
      {failure === null ? null : <span className="tone-bad">{failure.message}</span>}
    </>
  )
}

function MadePassword({ told, onClose }: { told: UserAnswer | null; onClose: () => void }): ReactNode {
  const t = useTexts()
  return (
    <Modal
      open={told !== null}
      title={told === null ? '' : t.users.made(told.user.name)}
      okText={t.users.done}
      onOk={onClose}
      onCancel={onClose}
      cancelButtonProps={{ hidden: true }}
      mask={{ closable: false }}
      destroyOnHidden
    >
      <div className="stack">
        <p>{t.users.madeHint}</p>
        <CopyLine line={told?.password ?? ''} label={told === null ? '' : t.users.made(told.user.name)} />
      </div>
    </Modal>
  )
}
