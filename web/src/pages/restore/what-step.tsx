import { Input, Radio, Select } from 'antd'
import type { ReactNode } from 'react'
import { useFormats } from '../../formats/formats.ts'
import { useTexts } from '../../language/language.ts'
import type { System } from '../../live/systems.ts'
import { trackKey } from '../../timeline/vault-past.ts'
import { chosenSources, type Plan } from './plan.ts'

const whole = 'whole'

export function WhatStep({
  systems,
  system,
  plan,
  change,
}: {
  readonly systems: readonly System[]
  readonly system: System | undefined
  readonly plan: Plan
  readonly change: (wanted: Partial<Plan>) => void
}): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  const sources = system?.sources.filter(({ source }) => source.earliest !== null) ?? []
  const [only] = chosenSources(plan, system)
  const isFilesAlone = plan.source !== undefined && only?.source.kind === 'files'
  return (
    <>
      <label className="restore-field">
        <span>{t.restore.system}</span>
        <Select
          showSearch
          style={{ width: 380 }}
          placeholder={t.restore.chooseSystem}
          value={plan.system ?? null}
          onChange={(name: string) => change({ system: name, source: soleSource(systems, name), paths: [] })}
          options={systems.map(({ name }) => ({ value: name, label: name }))}
        />
      </label>
      {sources.length > 1 ? (
        <fieldset className="restore-field">
          <legend>{t.restore.scope}</legend>
          <Radio.Group
            className="restore-choices"
            value={plan.source ?? whole}
            onChange={({ target }) => change({ source: target.value === whole ? undefined : target.value, paths: [] })}
          >
            <Radio value={whole}>{t.restore.wholeSystem(formats.count(sources.length))}</Radio>
            {sources.map(({ vault, source }) => (
              <Radio key={trackKey(vault.id, source.id)} value={trackKey(vault.id, source.id)}>
                {t.restore.oneSource}: <strong>{source.name}</strong>{' '}
                <span className="quiet">
                  {t.timeline.sourceKinds[source.kind]} · {source.agent.name} · {vault.name}
                </span>
              </Radio>
            ))}
          </Radio.Group>
        </fieldset>
      ) : null}
      {isFilesAlone ? (
        <label className="restore-field">
          <span>{t.restore.paths}</span>
          <Input.TextArea
            rows={3}
            placeholder={t.restore.pathsAll}
            value={plan.paths.join('\n')}
            onChange={({ target }) =>
              change({
                paths: target.value.split('\n').filter((line, at, all) => line !== '' || at === all.length - 1),
              })
            }
            onBlur={() => change({ paths: plan.paths.map((line) => line.trim()).filter((line) => line !== '') })}
          />
          <span className="quiet">{t.restore.pathsHint}</span>
        </label>
      ) : null}
    </>
  )
}

/** A system of one source is that source. */
function soleSource(systems: readonly System[], name: string): string | undefined {
  const sources = systems.find((one) => one.name === name)?.sources ?? []
  const [first] = sources
  return sources.length === 1 && first !== undefined ? trackKey(first.vault.id, first.source.id) : undefined
}
