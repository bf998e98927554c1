import { useQuery } from '@tanstack/react-query'
import type { ReactNode } from 'react'
import type { z } from 'zod'
import type { VaultEntry } from '../../../src/api/console.ts'
import type { consoleRecord } from '../../../src/api/consoles.ts'
import { get, vaultPath } from '../api/client.ts'
import { useFormats } from '../formats/formats.ts'
import { useTexts } from '../language/language.ts'
import { ToneShape } from '../shell/state-mark.tsx'
import { Failed, Loading } from '../shell/states.tsx'

/** Who else steers this vault. They are revoked at the vault itself, by whoever sits there. */
export function Consoles({ vault }: { vault: VaultEntry }): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  const { data, error, refetch } = useQuery({
    queryKey: ['consoles', vault.id],
    queryFn: ({ signal }) => get<z.infer<typeof consoleRecord>[]>(vaultPath(vault.id, '/consoles'), signal),
    enabled: vault.connected,
  })
  if (error !== null) return <Failed failure={error} again={() => void refetch()} />
  if (data === undefined) return <Loading rows={2} />
  return (
    <div className="panel-body stack-tight">
      <ul className="consoles">
        {data.map(({ id, name, connected, revoked, enrolled }) => {
          const state = revoked ? 'revoked' : connected ? 'connected' : 'away'
          const tone = state === 'connected' ? 'good' : 'idle'
          return (
            <li key={id}>
              <span className={`state-mark tone-${tone}`}>
                <ToneShape tone={tone} />
                {t.vaults.consoleStates[state]}
              </span>
              <strong>{name}</strong>
              <span className="quiet">{t.vaults.since(formats.moment(enrolled))}</span>
            </li>
          )
        })}
      </ul>
      <p className="quiet">{t.vaults.consolesHint}</p>
    </div>
  )
}
