import { DeleteOutlined, PlusOutlined } from '@ant-design/icons'
import { Button, Input, InputNumber, Select } from 'antd'
import { type ReactNode, useState } from 'react'
import type { z } from 'zod'
import type { AgentDetails, bandwidthLimit } from '../../../src/api/tasks.ts'
import { request, vaultPath } from '../api/client.ts'
import { useChange } from '../api/changes.ts'
import { useTexts } from '../language/language.ts'
import { FailureLine } from '../shell/states.tsx'

type Limit = z.infer<typeof bandwidthLimit>

const mib = 1024 * 1024
const slowestMib = 1 / 1024
/** 0 is Sunday. A week begins on Monday. */
const week = [1, 2, 3, 4, 5, 6, 0]
const office: Limit = { days: [1, 2, 3, 4, 5], from: '08:00', to: '18:00', bytesPerSecond: 4 * mib }

/** What a server may send, by time of day: the first rule that fits holds. Bulk and live changes share it; live ones go first. */
export function LimitsEditor({ vault, agent }: { vault: string; agent: AgentDetails }): ReactNode {
  const t = useTexts()
  const [rules, setRules] = useState<readonly Limit[]>(agent.limits)
  const { ask, isBusy, failure } = useChange(
    (limits: readonly Limit[]) => request('PATCH', vaultPath(vault, `/agents/${agent.id}`), { limits }),
    { done: () => t.servers.limitsSaved, touches: [['agents', vault]] },
  )
  const change = (at: number, by: Partial<Limit>): void =>
    setRules(rules.map((rule, index) => (index === at ? { ...rule, ...by } : rule)))
  const isChanged = JSON.stringify(rules) !== JSON.stringify(agent.limits)
  return (
    <div className="stack">
      <p className="quiet">{rules.length === 0 ? t.servers.limitsNone : t.servers.limitsHint}</p>
      {agent.limitsOnServer.length === 0 ? null : (
        <p className="quiet">{t.servers.limitsOnServer(agent.limitsOnServer.length)}</p>
      )}
      <ol className="limits">
        {rules.map((rule, at) => (
          // The order is what a rule is; it has no other name.
          // oxlint-disable-next-line react/no-array-index-key
          <li key={at}>
            <Select
              mode="multiple"
              aria-label={t.servers.days}
              value={rule.days ?? week}
              onChange={(days: number[]) => change(at, { days: days.toSorted() })}
              options={week.map((value, place) => ({ value, label: t.servers.dayNames[place] }))}
              maxTagCount="responsive"
            />
            <Input
              aria-label={t.servers.from}
              value={rule.from}
              onChange={({ target }) => change(at, { from: target.value })}
              status={isTime(rule.from) ? '' : 'error'}
            />
            <Input
              aria-label={t.servers.to}
              value={rule.to}
              onChange={({ target }) => change(at, { to: target.value })}
              status={isTime(rule.to) ? '' : 'error'}
            />
            <InputNumber
              aria-label={t.servers.limit}
              value={rule.bytesPerSecond / mib}
              min={slowestMib}
              step={1}
              suffix={t.servers.mibPerSecond}
              onChange={(value) => change(at, { bytesPerSecond: Math.round((value ?? slowestMib) * mib) })}
            />
            <Button
              type="text"
              icon={<DeleteOutlined aria-hidden />}
              aria-label={t.servers.removeLimit}
              onClick={() => setRules(rules.filter((_, index) => index !== at))}
            />
          </li>
        ))}
      </ol>
      <FailureLine failure={failure} />
      <div className="row">
        <Button icon={<PlusOutlined aria-hidden />} onClick={() => setRules([...rules, office])}>
          {t.servers.addLimit}
        </Button>
        <Button
          type="primary"
          disabled={!isChanged || !rules.every(isWhole)}
          loading={isBusy}
          onClick={() => void ask(rules)}
        >
          {t.servers.saveLimits}
        </Button>
      </div>
    </div>
  )
}

const isTime = (text: string): boolean => /^([01]\d|2[0-3]):[0-5]\d$/.test(text)
const isWhole = ({ days, from, to }: Limit): boolean => days?.length !== 0 && isTime(from) && isTime(to)
