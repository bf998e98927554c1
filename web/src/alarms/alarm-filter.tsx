import { Input, Select } from 'antd'
import { type ReactNode, useState } from 'react'
import type { Alarm } from '../../../src/api/console.ts'
import { useTexts } from '../language/language.ts'
import { useLive } from '../live/live.tsx'
import { severities } from './severities.ts'

export interface AlarmsWanted {
  readonly severity?: Alarm['severity'] | undefined
  readonly system?: string | undefined
  readonly text?: string | undefined
}

export function useAlarmFilter(): { wanted: AlarmsWanted; filter: ReactNode } {
  const [wanted, want] = useState<AlarmsWanted>({})
  return { wanted, filter: <AlarmFilter wanted={wanted} want={want} /> }
}

function AlarmFilter({ wanted, want }: { wanted: AlarmsWanted; want: (wanted: AlarmsWanted) => void }): ReactNode {
  const t = useTexts()
  return (
    <div className="alarms-filter">
      <Select
        allowClear
        placeholder={t.alarms.anySeverity}
        aria-label={t.alarms.severity}
        value={wanted.severity ?? null}
        onChange={(severity) => want({ ...wanted, severity: severity ?? undefined })}
        options={severities.map((value) => ({ value, label: t.alarms.severities[value] }))}
      />
      <SystemSelect
        placeholder={t.alarms.anySystem}
        value={wanted.system}
        onChange={(system) => want({ ...wanted, system })}
      />
      <Input.Search
        allowClear
        placeholder={t.alarms.find}
        aria-label={t.alarms.find}
        onSearch={(text) => want({ ...wanted, text: text === '' ? undefined : text })}
      />
    </div>
  )
}

/** Of the systems that any vault has told of. */
export function SystemSelect({
  value,
  onChange,
  placeholder,
}: {
  value?: string | undefined
  onChange?: (system: string | undefined) => void
  placeholder: string
}): ReactNode {
  const t = useTexts()
  const { vaults } = useLive()
  const names = [...vaults.values()].flatMap(({ sources }) =>
    [...sources.values()].map(({ system, name }) => system ?? name),
  )
  return (
    <Select
      allowClear
      showSearch
      className="system-select"
      placeholder={placeholder}
      aria-label={t.alarms.system}
      value={value ?? null}
      onChange={(system) => onChange?.(system ?? undefined)}
      options={[...new Set(names)]
        .toSorted((one, other) => one.localeCompare(other))
        .map((name) => ({ value: name, label: name }))}
    />
  )
}
