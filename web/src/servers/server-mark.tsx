import { Tooltip } from 'antd'
import type { ReactNode } from 'react'
import type { PlacedAgent } from '../api/vaults.ts'
import { useTexts } from '../language/language.ts'
import { ToneShape } from '../shell/state-mark.tsx'

/** Whether a server can be reached, with what to do where it cannot. */
export function ServerMark({ row: { vault, agent } }: { row: PlacedAgent }): ReactNode {
  const t = useTexts()
  const state = agent.revoked ? 'revoked' : !vault.connected ? 'unknown' : agent.connected ? 'connected' : 'away'
  const tone = ({ revoked: 'idle', unknown: 'away', connected: 'good', away: 'bad' } as const)[state]
  return (
    <Tooltip title={t.servers.stateSentences[state]}>
      <span className={`state-mark tone-${tone}`}>
        <ToneShape tone={tone} />
        {t.servers.stateWords[state]}
      </span>
    </Tooltip>
  )
}
