import { Button, Form, Input } from 'antd'
import { type ReactNode, useState } from 'react'
import type { Me } from '../../../src/api/console.ts'
import { ApiFailure, request } from '../api/client.ts'
import { useSession } from '../api/session.ts'
import { useTexts } from '../language/language.ts'
import { LanguageMenu, ThemeMenu } from '../shell/header.tsx'
import { FailureLine } from '../shell/states.tsx'

/** What the console answers when the password is right and the account has an authenticator. */
const codeNeeded = 'code-needed'

interface SignInFields {
  readonly user: string
  readonly password: string
  readonly code?: string
}

export function SignIn(): ReactNode {
  const t = useTexts()
  const { enter } = useSession()
  const [failure, setFailure] = useState<Error | null>(null)
  const [isBusy, setBusy] = useState(false)
  const [needsCode, setNeedsCode] = useState(false)
  const [form] = Form.useForm<SignInFields>()

  const signIn = async (fields: SignInFields): Promise<void> => {
    setBusy(true)
    setFailure(null)
    try {
      enter(await request<Me>('POST', '/sign-in', fields))
    } catch (error) {
      if (error instanceof ApiFailure && error.code === codeNeeded && !needsCode) setNeedsCode(true)
      else setFailure(error as Error)
    } finally {
      setBusy(false)
    }
  }

  return (
    <Gate title={t.signIn.title}>
      <Form form={form} layout="vertical" requiredMark={false} onFinish={(fields) => void signIn(fields)}>
        <Form.Item
          name="user"
          label={t.signIn.user}
          hidden={needsCode}
          rules={[{ required: true, message: t.signIn.userNeeded }]}
        >
          <Input autoFocus autoComplete="username" size="large" maxLength={63} />
        </Form.Item>
        <Form.Item
          name="password"
          label={t.signIn.password}
          hidden={needsCode}
          rules={[{ required: true, message: t.signIn.passwordNeeded }]}
        >
          <Input.Password autoComplete="current-password" size="large" maxLength={256} />
        </Form.Item>
        {needsCode ? (
          <Form.Item
            name="code"
            label={t.signIn.code}
            extra={t.signIn.codeHint}
            rules={[{ required: true, pattern: /^\d{6}$/, message: t.signIn.codeNeeded }]}
          >
            <Input autoFocus autoComplete="one-time-code" inputMode="numeric" maxLength={6} size="large" />
          </Form.Item>
        ) : null}
        <FailureLine failure={failure} />
        <Button type="primary" htmlType="submit" size="large" block loading={isBusy}>
          {t.signIn.enter}
        </Button>
        {needsCode ? (
          <Button type="link" block onClick={() => setNeedsCode(false)}>
            {t.signIn.otherUser}
          </Button>
        ) : (
          <p className="quiet">{t.signIn.forgotten}</p>
        )}
      </Form>
    </Gate>
  )
}

/** Until who was given a password has one of his own, nothing else is open. */
export function ChangePassword(): ReactNode {
  const t = useTexts()
  const { ask } = useSession()
  const [failure, setFailure] = useState<Error | null>(null)
  const [isBusy, setBusy] = useState(false)

  const change = async (fields: { old: string; new: string }): Promise<void> => {
    setBusy(true)
    setFailure(null)
    try {
      await request('POST', '/me/password', { old: fields.old, new: fields.new })
      await ask()
    } catch (error) {
      setFailure(error as Error)
    } finally {
      setBusy(false)
    }
  }

  return (
    <Gate title={t.signIn.changeTitle}>
      <p className="quiet">{t.signIn.changeHint}</p>
      <Form
        layout="vertical"
        requiredMark={false}
        onFinish={(fields: { old: string; new: string }) => void change(fields)}
      >
        <Form.Item
          name="old"
          label={t.signIn.oldPassword}
          rules={[{ required: true, message: t.signIn.passwordNeeded }]}
        >
          <Input.Password autoFocus autoComplete="current-password" size="large" maxLength={256} />
        </Form.Item>
        <Form.Item
          name="new"
          label={t.signIn.newPassword}
          rules={[{ required: true, message: t.signIn.newPasswordNeeded }]}
        >
          <Input.Password autoComplete="new-password" size="large" maxLength={256} />
        </Form.Item>
        <Form.Item
          name="repeated"
          label={t.signIn.repeated}
          dependencies={['new']}
          rules={[
            ({ getFieldValue }) => ({
              validator: (_rule, value) =>
                value === getFieldValue('new') ? Promise.resolve() : Promise.reject(new Error(t.signIn.differs)),
            }),
          ]}
        >
          <Input.Password autoComplete="new-password" size="large" maxLength={256} />
        </Form.Item>
        <FailureLine failure={failure} />
        <Button type="primary" htmlType="submit" size="large" block loading={isBusy}>
          {t.signIn.change}
        </Button>
      </Form>
    </Gate>
  )
}

function Gate({ title, children }: { title: string; children: ReactNode }): ReactNode {
  const t = useTexts()
  return (
    <main className="gate">
      <div className="gate-tools">
        <LanguageMenu />
        <ThemeMenu />
      </div>
      <section className="gate-panel" aria-labelledby="gate-title">
        <p className="gate-product">
          {t.shell.product} <span className="quiet">{t.shell.tagline}</span>
        </p>
        <h1 id="gate-title">{title}</h1>
        {children}
      </section>
    </main>
  )
}
