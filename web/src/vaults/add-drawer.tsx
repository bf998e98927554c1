import { AutoComplete, Drawer, Form, Input } from 'antd'
import type { ReactNode } from 'react'
import type { VaultEntry } from '../../../src/api/console.ts'
import { useChange } from '../api/changes.ts'
import { request } from '../api/client.ts'
import { sitesKey, useSites } from '../api/sites.ts'
import { useTexts } from '../language/language.ts'
import { FormEnd } from '../shell/form-end.tsx'

interface Fields {
  readonly url: string
  readonly token: string
  readonly site?: string
}

const addressSample = 'vault.county.example:7433'
const tokenCommand = 'tidemark vault token --console'

/** A vault is added with a token that somebody made at it: nobody else can let a console in. */
export function AddVaultDrawer({ isOpen, onClose }: { isOpen: boolean; onClose: () => void }): ReactNode {
  const t = useTexts()
  const sites = useSites()
  const { ask, isBusy, failure } = useChange(
    ({ url, token, site = '' }: Fields) =>
      request<VaultEntry>('POST', '/vaults', {
        url: url.trim(),
        token: token.trim(),
        ...(site.trim() === '' ? {} : { site: site.trim() }),
      }),
    { done: ({ name }) => t.vaults.added(name), touches: [sitesKey] },
  )
  const known = [...new Set([...Object.values(sites.vaults), ...Object.values(sites.agents)])].toSorted()
  return (
    <Drawer open={isOpen} onClose={onClose} title={t.vaults.add} size={520} destroyOnHidden>
      <div className="stack">
        <p>{t.vaults.addHint}</p>
        <pre className="command">{tokenCommand}</pre>
        <Form
          layout="vertical"
          requiredMark={false}
          onFinish={(fields: Fields) => void ask(fields).then((isDone) => isDone && onClose())}
        >
          <Form.Item
            name="url"
            label={t.vaults.url}
            extra={t.vaults.urlHint}
            rules={[{ required: true, message: t.vaults.urlNeeded }]}
          >
            <Input placeholder={addressSample} autoComplete="off" autoFocus />
          </Form.Item>
          <Form.Item name="token" label={t.vaults.token} rules={[{ required: true, message: t.vaults.tokenNeeded }]}>
            <Input.TextArea rows={3} autoComplete="off" spellCheck={false} />
          </Form.Item>
          <Form.Item name="site" label={t.servers.site} extra={t.vaults.siteHint}>
            <AutoComplete options={known.map((value) => ({ value }))} />
          </Form.Item>
          <FormEnd failure={failure} isBusy={isBusy} word={t.vaults.add} />
        </Form>
      </div>
    </Drawer>
  )
}
