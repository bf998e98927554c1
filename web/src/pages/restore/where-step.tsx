import { Checkbox, Input, Radio, Select } from 'antd'
import type { ReactNode } from 'react'
import { useAgents } from '../../api/vaults.ts'
import { useTexts } from '../../language/language.ts'
import { FailureLine, Loading, Notice } from '../../shell/states.tsx'
import { canBeInPlace, type StepProps } from './plan.ts'

export function WhereStep({ sources, plan, change }: StepProps): ReactNode {
  const t = useTexts()
  const { rows, isLoading, failure } = useAgents()
  const vaults = new Set(sources.map(({ vault }) => vault.id))
  const agents = rows.filter(({ vault, agent }) => vaults.has(vault.id) && !agent.revoked)
  const kinds = new Set(sources.map(({ source }) => source.kind))
  const [only] = sources
  const mayBeInPlace = canBeInPlace(sources)
  if (isLoading) return <Loading rows={4} />
  return (
    <>
      <FailureLine failure={failure} />
      {agents.some(({ agent }) => agent.connected) ? null : (
        <Notice tone="late" title={t.restore.noServer} hint={t.restore.noServerHint} />
      )}
      <fieldset className="restore-field">
        <legend>{t.restore.place}</legend>
        <Radio.Group
          className="restore-choices"
          value={plan.isInPlace}
          onChange={({ target }) => change({ isInPlace: target.value, typedName: '' })}
        >
          <Radio value={false}>{t.restore.elsewhere}</Radio>
          <Radio value disabled={!mayBeInPlace}>
            {t.restore.inPlace}
            {mayBeInPlace ? null : <span className="quiet"> {t.restore.inPlaceNot}</span>}
          </Radio>
        </Radio.Group>
      </fieldset>
      {plan.isInPlace && only !== undefined ? (
        <label className="restore-field">
          <span>{t.restore.typeName(only.source.name)}</span>
          <Input
            style={{ width: 380 }}
            autoComplete="off"
            value={plan.typedName}
            onChange={({ target }) => change({ typedName: target.value })}
          />
        </label>
      ) : (
        <>
          <label className="restore-field">
            <span>{t.restore.server}</span>
            <Select
              showSearch={{ optionFilterProp: 'label' }}
              style={{ width: 380 }}
              value={plan.agent ?? null}
              onChange={(agent: string) => change({ agent })}
              options={agents.map(({ agent, vault }) => ({
                value: agent.id,
                disabled: !agent.connected,
                label: `${agent.connected ? agent.name : t.restore.serverAway(agent.name)}${vaults.size > 1 ? ` · ${vault.name}` : ''}`,
              }))}
            />
            <span className="quiet">{t.restore.serverHint}</span>
          </label>
          <label className="restore-field">
            <span>{kinds.size === 1 && kinds.has('volume') ? t.restore.image : t.restore.directory}</span>
            <Input
              style={{ width: 380 }}
              placeholder={t.restore.directoryExample}
              value={plan.to}
              onChange={({ target }) => change({ to: target.value })}
            />
            <span className="quiet">{t.restore.directoryHint}</span>
          </label>
        </>
      )}
      {kinds.has('postgres') ? (
        <Checkbox checked={plan.start} onChange={({ target }) => change({ start: target.checked })}>
          {t.restore.start}
        </Checkbox>
      ) : null}
    </>
  )
}
