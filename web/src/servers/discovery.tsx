import { useQuery, useQueryClient } from '@tanstack/react-query'
import { Button, Input, Radio, Tag } from 'antd'
import { type ReactNode, useState } from 'react'
import type { Discovered, TaskRecord } from '../../../src/api/tasks.ts'
import { ApiFailure, get, request, vaultPath } from '../api/client.ts'
import type { PlacedAgent } from '../api/vaults.ts'
import { useFormats } from '../formats/formats.ts'
import { useTexts } from '../language/language.ts'
import { Failed, Loading } from '../shell/states.tsx'
import { type Choice, keyOf } from './protect-plan.ts'

const pollMs = 1_000
const pollsMax = 120
const pathSample = '/srv/data'

/** Asks the agent what there is on its server, and lets one thing of it be chosen, or typed. */
export function DiscoveryStep({
  row,
  choice,
  onChoose,
}: {
  row: PlacedAgent
  choice: Choice | null
  onChoose: (choice: Choice | null) => void
}): ReactNode {
  const t = useTexts()
  const { found, failure, isLoading, again } = useDiscovery(row)
  return (
    <div className="stack">
      <Typed onChoose={onChoose} />
      {failure === null ? null : <Failed failure={failure} again={again} />}
      {isLoading ? (
        <>
          <p className="quiet">{t.servers.discovering(row.agent.name)}</p>
          <Loading rows={5} />
        </>
      ) : null}
      {found === undefined ? null : (
        <Radio.Group
          className="choices"
          value={choice === null ? undefined : keyOf(choice)}
          onChange={({ target }) => onChoose(JSON.parse(target.value as string) as Choice)}
        >
          <FoundDatabases found={found} />
          <FoundMounts found={found} />
          <FoundDirectories found={found} />
          {found.stopped === undefined ? null : <p className="quiet">{t.servers.notAllLooked}</p>}
        </Radio.Group>
      )}
      {found === undefined ? null : (
        <Button type="link" onClick={again}>
          {t.servers.lookAgain}
        </Button>
      )}
    </div>
  )
}

function FoundDatabases({ found }: { found: Discovered }): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  return (
    <Group title={t.servers.databases} none={t.servers.noDatabases}>
      {found.postgres.map(({ url, version, dataDirectory, bytes, source, problems }) => (
        <Row key={url} choice={{ kind: 'postgres', url }} source={source}>
          <strong>{t.servers.postgresOf(version)}</strong> <code>{url}</code>
          <span className="quiet">
            {dataDirectory} {bytes === undefined ? null : formats.bytes(bytes)}
          </span>
          {problems.map(({ code, message, hint }) => (
            <span key={code} className="tone-late">
              {message} <span className="quiet">{hint}</span>
            </span>
          ))}
        </Row>
      ))}
    </Group>
  )
}

function FoundMounts({ found }: { found: Discovered }): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  return (
    <Group title={t.servers.mounts} none={t.servers.noMounts}>
      {found.mounts.map(({ path, type, device, bytes, usedBytes, source }) => (
        <Row key={path} choice={{ kind: 'files', paths: [path] }} source={source}>
          <strong>{path}</strong>
          <span className="quiet">
            {type} · {device} · {t.servers.used(formats.bytes(usedBytes), formats.bytes(bytes))}
          </span>
        </Row>
      ))}
    </Group>
  )
}

function FoundDirectories({ found }: { found: Discovered }): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  return (
    <Group title={t.servers.directories} none={t.servers.noDirectories}>
      {found.directories.map(({ path, bytes, files, source }) => (
        <Row key={path} choice={{ kind: 'files', paths: [path] }} source={source}>
          <strong>{path}</strong>
          <span className="quiet">{t.servers.holds(formats.bytes(bytes), formats.count(files))}</span>
        </Row>
      ))}
    </Group>
  )
}

function Group({ title, none, children }: { title: string; none: string; children: readonly ReactNode[] }): ReactNode {
  return (
    <section aria-label={title}>
      <h3>{title}</h3>
      {children.length === 0 ? <p className="quiet">{none}</p> : children}
    </section>
  )
}

function Row({
  choice,
  source,
  children,
}: {
  choice: Choice
  source: string | undefined
  children: ReactNode
}): ReactNode {
  const t = useTexts()
  return (
    <Radio value={keyOf(choice)} disabled={source !== undefined} className="choice">
      <span className="choice-text">
        {children}
        {source === undefined ? null : <Tag>{t.servers.protectedBy(source)}</Tag>}
      </span>
    </Radio>
  )
}

/** For what discovery does not find: any path, or a device as a volume. */
function Typed({ onChoose }: { onChoose: (choice: Choice | null) => void }): ReactNode {
  const t = useTexts()
  const [path, setPath] = useState('')
  const [kind, setKind] = useState<'files' | 'volume'>('files')
  const choose = (typed: string, as: 'files' | 'volume'): void => {
    const paths = typed.split(/\s*[,\n]\s*/).filter((one) => one.startsWith('/'))
    const [first] = paths
    if (first === undefined) onChoose(null)
    else onChoose(as === 'files' ? { kind: 'files', paths } : { kind: 'volume', backing: first })
  }
  return (
    <div className="stack-tight choices-typed">
      <label htmlFor="typed-path">{t.servers.typePath}</label>
      <div className="row">
        <Input
          id="typed-path"
          value={path}
          placeholder={pathSample}
          onChange={({ target }) => {
            setPath(target.value)
            choose(target.value, kind)
          }}
        />
        <Radio.Group
          optionType="button"
          value={kind}
          options={[
            { value: 'files', label: t.servers.asFiles },
            { value: 'volume', label: t.servers.asVolume },
          ]}
          onChange={({ target }) => {
            setKind(target.value as 'files' | 'volume')
            choose(path, target.value as 'files' | 'volume')
          }}
        />
      </div>
      <p className="quiet">{kind === 'files' ? t.servers.asFilesHint : t.servers.asVolumeHint}</p>
    </div>
  )
}

function useDiscovery({ vault, agent }: PlacedAgent): {
  found: Discovered | undefined
  failure: Error | null
  isLoading: boolean
  again: () => void
} {
  const queries = useQueryClient()
  const key = ['discovery', vault.id, agent.id]
  const { data, error, isFetching } = useQuery({
    queryKey: key,
    queryFn: ({ signal }) => discover(vault.id, agent.id, signal),
    staleTime: Infinity,
    retry: false,
    enabled: agent.connected,
  })
  return {
    found: isFetching ? undefined : data,
    failure: isFetching ? null : error,
    isLoading: isFetching,
    again: () => void queries.resetQueries({ queryKey: key }),
  }
}

async function discover(vault: string, agent: string, signal: AbortSignal): Promise<Discovered> {
  let task = await request<TaskRecord>('POST', vaultPath(vault, '/tasks'), { kind: 'discover', agent }, signal)
  for (let poll = 0; poll < pollsMax && (task.state === 'waiting' || task.state === 'running'); poll += 1) {
    await new Promise((resolve) => window.setTimeout(resolve, pollMs))
    task = await get<TaskRecord>(vaultPath(vault, `/tasks/${task.id}`), signal)
  }
  if (task.result?.discovered !== undefined) return task.result.discovered
  throw new ApiFailure(200, task.error?.code ?? 'timed-out', task.error?.message ?? task.state, task.error?.hint)
}
