import { Button, Form, Input, QRCode } from 'antd'
import { type ReactNode, useState } from 'react'
import type { z } from 'zod'
import type { totpBegun } from '../../../src/api/console.ts'
import { useChange } from '../api/changes.ts'
import { request } from '../api/client.ts'
import { useSession } from '../api/session.ts'
import { useTexts } from '../language/language.ts'
import { FormEnd } from '../shell/form-end.tsx'
import { FailureLine } from '../shell/states.tsx'

type TotpBegun = z.infer<typeof totpBegun>

/** The second factor: on by a code of it, off by a code of it. */
export function TotpPart({ isOn }: { isOn: boolean }): ReactNode {
  const t = useTexts()
  const { ask: askMe } = useSession()
  const [begun, setBegun] = useState<TotpBegun | null>(null)
  const begin = useChange(async () => setBegun(await request<TotpBegun>('POST', '/me/totp')), { touches: [] })
  const confirm = useChange(
    async (code: string) => {
      await request('POST', '/me/totp/confirm', { code })
      setBegun(null)
      await askMe()
    },
    { done: () => t.account.confirmed, touches: [] },
  )
  const turnOff = useChange(
    async (code: string) => {
      await request('DELETE', '/me/totp', { code })
      await askMe()
    },
    { done: () => t.account.turnedOff, touches: [] },
  )
  return (
    <section className="panel" aria-labelledby="totp-title">
      <header>
        <h2 id="totp-title">{t.account.totp}</h2>
      </header>
      <div className="panel-body stack">
        <p>{isOn ? t.account.totpOn : t.account.totpOff}</p>
        {isOn ? (
          <>
            <p className="quiet">{t.account.turnOffHint}</p>
            <CodeForm word={t.account.turnOff} isBusy={turnOff.isBusy} failure={turnOff.failure} ask={turnOff.ask} />
          </>
        ) : begun === null ? (
          <>
            <p className="quiet">{t.account.totpAbout}</p>
            <FailureLine failure={begin.failure} />
            <div>
              <Button type="primary" loading={begin.isBusy} onClick={() => void begin.ask(undefined)}>
                {t.account.begin}
              </Button>
            </div>
          </>
        ) : (
          <>
            <p>{t.account.scan}</p>
            <div className="totp-begun">
              <QRCode value={begun.uri} type="svg" size={168} color="#000000" bgColor="#ffffff" />
              <div className="stack-tight">
                <span className="quiet">{t.account.secret}</span>
                <code>{begun.secret}</code>
              </div>
            </div>
            <CodeForm word={t.account.confirm} isBusy={confirm.isBusy} failure={confirm.failure} ask={confirm.ask} />
          </>
        )}
      </div>
    </section>
  )
}

function CodeForm({
  word,
  isBusy,
  failure,
  ask,
}: {
  word: string
  isBusy: boolean
  failure: Error | null
  ask: (code: string) => Promise<boolean>
}): ReactNode {
  const t = useTexts()
  return (
    <Form<{ code: string }> layout="vertical" requiredMark={false} onFinish={({ code }) => void ask(code)}>
      <Form.Item
        name="code"
        label={t.account.code}
        rules={[{ required: true, pattern: /^\d{6}$/, message: t.account.codeRule }]}
      >
        <Input inputMode="numeric" autoComplete="one-time-code" maxLength={6} />
      </Form.Item>
      <FormEnd failure={failure} isBusy={isBusy} word={word} />
    </Form>
  )
}
