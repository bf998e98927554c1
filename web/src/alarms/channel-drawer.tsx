import { Checkbox, Drawer, Form, Input, InputNumber, Select, Switch } from 'antd'
import type { ReactNode } from 'react'
import type { Channel, ChannelRequest } from '../../../src/api/console.ts'
import { channelsKey } from '../api/alarms.ts'
import { useChange } from '../api/changes.ts'
import { request } from '../api/client.ts'
import { languageNames, useTexts } from '../language/language.ts'
import { usePreferences } from '../shell/preferences.ts'
import { FormEnd } from '../shell/form-end.tsx'
import { severities } from './severities.ts'

type Kind = Channel['kind']
const kinds: readonly Kind[] = ['smtp', 'wecom', 'dingtalk', 'feishu', 'webhook']
const tlsKinds = ['starttls', 'implicit', 'none'] as const
const usualPorts = { starttls: 587, implicit: 465, none: 25 } as const

/** All fields of all kinds; those of the chosen kind are shown, and sent. */
interface Fields {
  readonly kind: Kind
  readonly name: string
  readonly language: ChannelRequest['language']
  readonly severities: ChannelRequest['severities']
  readonly enabled: boolean
  readonly authority?: string
  readonly secret?: string
  readonly url?: string
  readonly host?: string
  readonly port?: number
  readonly tls?: keyof typeof usualPorts
  readonly user?: string
  readonly from?: string
  readonly to?: string[]
}

export function ChannelDrawer({ edited, onClose }: { edited: Channel | 'new' | null; onClose: () => void }): ReactNode {
  const t = useTexts()
  const { language } = usePreferences()
  const [form] = Form.useForm<Fields>()
  const kind = Form.useWatch('kind', form)
  const before = edited === 'new' || edited === null ? undefined : edited
  const { ask, isBusy, failure, forget } = useChange(
    (wanted: ChannelRequest) =>
      before === undefined ? request('POST', '/channels', wanted) : request('PUT', `/channels/${before.id}`, wanted),
    { done: (_, { name }) => t.channels.saved(name), touches: [channelsKey] },
  )
  const close = (): void => {
    forget()
    onClose()
  }
  const save = async (fields: Fields): Promise<void> => {
    if (await ask(requestOf(fields))) close()
  }
  const needed = [{ required: true, message: t.channels.needed }]
  return (
    <Drawer
      open={edited !== null}
      onClose={close}
      destroyOnHidden
      size={460}
      title={before === undefined ? t.channels.titleNew : t.channels.titleOf(before.name)}
    >
      <Form<Fields>
        form={form}
        layout="vertical"
        requiredMark={false}
        initialValues={before ?? firstValues(language)}
        onFinish={(fields) => void save(fields)}
      >
        <Form.Item name="kind" label={t.channels.kind}>
          <Select
            disabled={before !== undefined}
            options={kinds.map((value) => ({ value, label: t.channels.kinds[value] }))}
          />
        </Form.Item>
        <Form.Item name="name" label={t.channels.name} rules={needed}>
          <Input maxLength={63} autoComplete="off" />
        </Form.Item>
        {kind === undefined || kind === 'smtp' ? (
          <MailFields hasSecret={before?.hasSecret ?? false} />
        ) : (
          <HookFields kind={kind} before={before} />
        )}
        <Form.Item
          name="severities"
          label={t.channels.hears}
          rules={[{ required: true, message: t.channels.severitiesNeeded }]}
        >
          <Checkbox.Group options={severities.map((value) => ({ value, label: t.alarms.severities[value] }))} />
        </Form.Item>
        <Form.Item name="language" label={t.channels.language}>
          <Select options={Object.entries(languageNames).map(([value, label]) => ({ value, label }))} />
        </Form.Item>
        <Form.Item name="authority" label={t.channels.authority} extra={t.channels.authorityHint}>
          <Input.TextArea rows={2} spellCheck={false} />
        </Form.Item>
        <Form.Item name="enabled" label={t.channels.enabled} valuePropName="checked">
          <Switch />
        </Form.Item>
        <FormEnd failure={failure} isBusy={isBusy} word={t.channels.save} />
      </Form>
    </Drawer>
  )
}

function MailFields({ hasSecret }: { hasSecret: boolean }): ReactNode {
  const t = useTexts()
  const form = Form.useFormInstance<Fields>()
  const needed = [{ required: true, message: t.channels.needed }]
  return (
    <>
      <Form.Item name="host" label={t.channels.host} rules={needed}>
        <Input autoComplete="off" />
      </Form.Item>
      <Form.Item name="tls" label={t.channels.tls}>
        <Select
          options={tlsKinds.map((value) => ({ value, label: t.channels.tlsKinds[value] }))}
          onChange={(tls: keyof typeof usualPorts) => form.setFieldValue('port', usualPorts[tls])}
        />
      </Form.Item>
      <Form.Item name="port" label={t.channels.port} rules={needed}>
        <InputNumber min={1} max={65_535} precision={0} />
      </Form.Item>
      <Form.Item name="user" label={t.channels.user}>
        <Input autoComplete="off" />
      </Form.Item>
      <Form.Item name="secret" label={t.channels.password}>
        <Input.Password autoComplete="new-password" {...(hasSecret ? { placeholder: t.channels.kept } : {})} />
      </Form.Item>
      <Form.Item name="from" label={t.channels.from} rules={needed}>
        <Input autoComplete="off" />
      </Form.Item>
      <Form.Item name="to" label={t.channels.receivers} extra={t.channels.receiversHint} rules={needed}>
        <Select mode="tags" open={false} suffixIcon={null} tokenSeparators={[',', ';', ' ']} />
      </Form.Item>
    </>
  )
}

function HookFields({ kind, before }: { kind: Exclude<Kind, 'smtp'>; before: Channel | undefined }): ReactNode {
  const t = useTexts()
  const isKept = before !== undefined && before.kind === kind
  return (
    <>
      <Form.Item
        name="url"
        label={t.channels.address}
        extra={t.channels.addressHint[kind]}
        rules={[
          { required: !isKept, message: t.channels.urlNeeded },
          { pattern: /^https?:\/\/\S+$/, message: t.channels.urlNeeded },
        ]}
      >
        <Input autoComplete="off" spellCheck={false} {...(isKept ? { placeholder: t.channels.kept } : {})} />
      </Form.Item>
      {kind === 'wecom' ? null : (
        <Form.Item name="secret" label={t.channels.secret} extra={t.channels.secretHint[kind]}>
          <Input.Password
            autoComplete="new-password"
            {...(isKept && before.hasSecret ? { placeholder: t.channels.kept } : {})}
          />
        </Form.Item>
      )}
    </>
  )
}

const firstValues = (language: ChannelRequest['language']): Partial<Fields> => ({
  kind: 'smtp',
  language,
  severities: ['critical', 'warning'],
  enabled: true,
  tls: 'starttls',
  port: usualPorts.starttls,
})

/** What was left empty is not sent: of a secret and an address that means that they stay. */
function requestOf({ kind, name, language, severities: heard, enabled, ...fields }: Fields): ChannelRequest {
  const common = {
    name,
    language,
    severities: heard,
    enabled,
    ...filled({ authority: fields.authority, secret: fields.secret }),
  }
  if (kind !== 'smtp') return { ...common, kind, ...filled({ url: fields.url }) }
  const { host = '', port = usualPorts.starttls, tls = 'starttls', from = '', to = [], user } = fields
  return { ...common, kind, host, port, tls, from, to, ...filled({ user }) }
}

const filled = <T extends Record<string, string | undefined>>(fields: T): { [K in keyof T]?: string } =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined && value !== '')) as {
    [K in keyof T]?: string
  }
