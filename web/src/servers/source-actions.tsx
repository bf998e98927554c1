import { MoreOutlined } from '@ant-design/icons'
import { App, Button, Dropdown } from 'antd'
import { type ReactNode, useState } from 'react'
import { request, vaultPath } from '../api/client.ts'
import { useChange } from '../api/changes.ts'
import { useFormats } from '../formats/formats.ts'
import { useTexts } from '../language/language.ts'
import type { PlacedSource } from '../live/systems.ts'
import { NamedConfirm } from '../shell/named-confirm.tsx'

type Act = 'pause' | 'resume' | 'baseline' | 'unprotect'

/** What may be done to a source; each says first what it will do. */
export function SourceActions({ placed: { vault, source } }: { placed: PlacedSource }): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  const { modal } = App.useApp()
  const [isEnding, setEnding] = useState(false)
  const { ask, isBusy, failure, forget } = useChange((act: Act) => askFor(vault.id, source.id, act), {
    done: (_, act) => t.servers.acts.done[act](source.name),
    touches: [['tasks', vault.id]],
  })
  const confirm = (act: Exclude<Act, 'unprotect'>): void => {
    void modal.confirm({
      title: t.servers.acts.titles[act](source.name),
      content: t.servers.acts.sentences[act],
      okText: t.servers.acts.words[act],
      onOk: async () => {
        if (!(await ask(act))) throw new Error(act)
      },
    })
  }
  const items = [
    source.state === 'paused' ? ('resume' as const) : ('pause' as const),
    'baseline' as const,
    'unprotect' as const,
  ]
  return (
    <>
      <Dropdown
        trigger={['click']}
        menu={{
          items: items.map((key) => ({ key, label: t.servers.acts.words[key], danger: key === 'unprotect' })),
          onClick: ({ key }) => {
            forget()
            if (key === 'unprotect') setEnding(true)
            else confirm(key as Exclude<Act, 'unprotect'>)
          },
        }}
      >
        <Button type="text" icon={<MoreOutlined aria-hidden />} aria-label={t.servers.actsOf(source.name)} />
      </Dropdown>
      {failure !== null && !isEnding ? <span className="tone-bad">{failure.message}</span> : null}
      <NamedConfirm
        isOpen={isEnding}
        title={t.servers.acts.titles.unprotect(source.name)}
        name={source.name}
        act={t.servers.acts.words.unprotect}
        isBusy={isBusy}
        failure={failure}
        onClose={() => setEnding(false)}
        onConfirm={() => void ask('unprotect').then((isDone) => isDone && setEnding(false))}
      >
        <p>{t.servers.unprotectSentence(formats.duration(source.policy.windowMs))}</p>
      </NamedConfirm>
    </>
  )
}

function askFor(vault: string, source: string, act: Act): Promise<unknown> {
  switch (act) {
    case 'pause':
    case 'resume':
      return request('POST', vaultPath(vault, `/sources/${source}/${act}`))
    case 'baseline':
      return request('POST', vaultPath(vault, '/tasks'), { kind: 'baseline', source })
    case 'unprotect':
      return request('DELETE', vaultPath(vault, `/sources/${source}`))
  }
}
