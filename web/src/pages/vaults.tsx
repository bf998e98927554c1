import { PlusOutlined } from '@ant-design/icons'
import { Button } from 'antd'
import { type ReactNode, useState } from 'react'
import { useMay } from '../api/session.ts'
import { useTexts } from '../language/language.ts'
import { useLive } from '../live/live.tsx'
import { Empty, Loading } from '../shell/states.tsx'
import { AddVaultDrawer } from '../vaults/add-drawer.tsx'
import { VaultCards } from '../vaults/vault-cards.tsx'
import '../vaults/vaults.css'

export function Component(): ReactNode {
  const t = useTexts()
  const may = useMay()
  const { vaults, connection } = useLive()
  const [isAdding, setAdding] = useState(false)
  const add = may('vaults') ? (
    <Button type="primary" icon={<PlusOutlined aria-hidden />} onClick={() => setAdding(true)}>
      {t.vaults.add}
    </Button>
  ) : null
  return (
    <>
      {connection.kind === 'connecting' ? (
        <Loading rows={8} />
      ) : vaults.size === 0 ? (
        <Empty title={t.overview.noVault} hint={t.overview.noVaultHint}>
          {add}
        </Empty>
      ) : (
        <div className="stack">
          {add === null ? null : <div className="row row-end">{add}</div>}
          <VaultCards
            vaults={[...vaults.values()].toSorted((one, other) => one.entry.name.localeCompare(other.entry.name))}
          />
        </div>
      )}
      <AddVaultDrawer isOpen={isAdding} onClose={() => setAdding(false)} />
    </>
  )
}
