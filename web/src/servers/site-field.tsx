import { AutoComplete } from 'antd'
import { type ReactNode, useState } from 'react'
import { useChange } from '../api/changes.ts'
import { request } from '../api/client.ts'
import { useMay } from '../api/session.ts'
import { type Sites, sitesKey, useSites } from '../api/sites.ts'
import { useTexts } from '../language/language.ts'

/** Where a vault or a server stands, to be chosen among the sites there are or typed anew. */
export function SiteField({ of, id }: { of: keyof Sites; id: string }): ReactNode {
  const t = useTexts()
  const may = useMay()
  const sites = useSites()
  const [typed, setTyped] = useState<string | null>(null)
  const { ask, failure } = useChange((wanted: Sites) => request('PUT', '/sites', wanted), {
    done: () => t.servers.siteSaved,
    touches: [sitesKey],
  })
  const site = sites[of][id] ?? ''
  if (!may('vaults')) return site === '' ? '–' : site
  const save = async (): Promise<void> => {
    const wanted = (typed ?? site).trim()
    if (wanted !== site) {
      const { [id]: _, ...others } = sites[of]
      await ask({ ...sites, [of]: wanted === '' ? others : { ...others, [id]: wanted } })
    }
    setTyped(null)
  }
  const known = [...new Set([...Object.values(sites.vaults), ...Object.values(sites.agents)])].toSorted()
  return (
    <AutoComplete
      className="site-field"
      size="small"
      aria-label={t.servers.site}
      placeholder={t.servers.sitePlaceholder}
      value={typed ?? site}
      options={known.map((value) => ({ value }))}
      onChange={setTyped}
      onBlur={() => void save()}
      status={failure === null ? '' : 'error'}
    />
  )
}
