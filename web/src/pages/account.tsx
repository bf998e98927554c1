import { Button, Form, Input } from 'antd'
import type { ReactNode } from 'react'
import { TotpPart } from '../account/totp-part.tsx'
import { useChange } from '../api/changes.ts'
import { request } from '../api/client.ts'
import { useMe, useSession } from '../api/session.ts'
import { useTexts } from '../language/language.ts'
import { FormEnd } from '../shell/form-end.tsx'
import { FailureLine } from '../shell/states.tsx'
import '../account/account.css'

/** What everybody does with his own account. */
export function Component(): ReactNode {
  const t = useTexts()
  const { me } = useMe()
  if (me == null) return null
  return (
    <div className="stack">
      <section className="panel" aria-labelledby="account-title">
        <header>
          <h2 id="account-title">{me.user}</h2>
        </header>
        <div className="panel-body stack-tight">
          <span>
            {t.account.role} <strong>{t.shell.roles[me.role]}</strong>
          </span>
          <span className="quiet">{t.users.duties[me.role]}</span>
        </div>
      </section>
      <div className="account-parts">
        <PasswordPart />
        <TotpPart isOn={me.hasTotp} />
        <SessionsPart />
      </div>
    </div>
  )
}

interface PasswordFields {
  readonly old: string
  readonly new: string
  readonly again: string
}

function PasswordPart(): ReactNode {
  const t = useTexts()
  const { ask: askMe } = useSession()
  const [form] = Form.useForm<PasswordFields>()
  const { ask, isBusy, failure } = useChange(
    async (fields: PasswordFields) => {
      await request('POST', '/me/password', { old: fields.old, new: fields.new })
      form.resetFields()
      await askMe()
    },
    { done: () => t.account.changed, touches: [] },
  )
  const needed = [{ required: true, message: t.account.needed }]
  return (
    <section className="panel" aria-labelledby="password-title">
      <header>
        <h2 id="password-title">{t.account.password}</h2>
      </header>
      <Form<PasswordFields>
        className="panel-body"
        form={form}
        layout="vertical"
        requiredMark={false}
        onFinish={(fields) => void ask(fields)}
      >
        <Form.Item name="old" label={t.account.old} rules={needed}>
          <Input.Password autoComplete="current-password" maxLength={256} />
        </Form.Item>
        <Form.Item name="new" label={t.account.new} rules={needed}>
          <Input.Password autoComplete="new-password" maxLength={256} />
        </Form.Item>
        <Form.Item
          name="again"
          label={t.account.again}
          dependencies={['new']}
          rules={[
            ...needed,
            {
              validator: async (_, again: string) => {
                if (again !== undefined && again !== '' && again !== form.getFieldValue('new'))
                  throw new Error(t.account.differ)
              },
            },
          ]}
        >
          <Input.Password autoComplete="new-password" maxLength={256} />
        </Form.Item>
        <FormEnd failure={failure} isBusy={isBusy} word={t.account.change} />
      </Form>
    </section>
  )
}

function SessionsPart(): ReactNode {
  const t = useTexts()
  const { ask: askMe } = useSession()
  const { ask, isBusy, failure } = useChange(
    async () => {
      await request('POST', '/sign-out-everywhere')
      await askMe()
    },
    { touches: [] },
  )
  return (
    <section className="panel" aria-labelledby="sessions-title">
      <header>
        <h2 id="sessions-title">{t.account.sessions}</h2>
      </header>
      <div className="panel-body stack">
        <p>{t.account.sessionsAbout}</p>
        <FailureLine failure={failure} />
        <div>
          <Button loading={isBusy} onClick={() => void ask(undefined)}>
            {t.account.everywhere}
          </Button>
        </div>
      </div>
    </section>
  )
}
