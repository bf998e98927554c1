import { useQuery } from '@tanstack/react-query'
import { Button, Modal, Select } from 'antd'
import { type ReactNode, useState } from 'react'
import type { RetentionAnswer } from '../../../src/api/measures.ts'
import { useChange } from '../api/changes.ts'
import { get, request, vaultPath, withQuery } from '../api/client.ts'
import { useFormats } from '../formats/formats.ts'
import { useTexts } from '../language/language.ts'
import type { PlacedSource } from '../live/systems.ts'
import { windowsMs } from '../servers/protect-plan.ts'
import { NamedConfirm } from '../shell/named-confirm.tsx'
import { FailureLine, Failed, Loading } from '../shell/states.tsx'

const marksShownMax = 8

/** Another window: a longer one is just set; what a shorter one would delete is told first, and asks for the source's name. */
export function RetentionButton({ placed: { vault, source } }: { placed: PlacedSource }): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  const [isOpen, setOpen] = useState(false)
  const [isSure, setSure] = useState(false)
  const now = source.policy.windowMs
  const [windowMs, setWindowMs] = useState(now)
  const { ask, isBusy, failure } = useChange(
    () => request('PATCH', vaultPath(vault.id, `/sources/${source.id}`), { policy: { windowMs } }),
    { done: () => t.vaults.windowSaved(source.name), touches: [['space', vault.id]] },
  )
  const close = (): void => {
    setSure(false)
    setOpen(false)
  }
  const save = async (): Promise<void> => {
    if (await ask(undefined)) close()
  }
  const lengths = [...new Set([...windowsMs, now])].toSorted((one, other) => one - other)
  return (
    <>
      <Button
        size="small"
        onClick={() => {
          setWindowMs(now)
          setOpen(true)
        }}
      >
        {t.vaults.changeWindow}
      </Button>
      <Modal
        open={isOpen && !isSure}
        title={t.vaults.windowOf(source.name)}
        okText={windowMs < now ? t.vaults.shorten : t.vaults.saveWindow}
        okButtonProps={{ disabled: windowMs === now, danger: windowMs < now, loading: isBusy }}
        onOk={() => (windowMs < now ? setSure(true) : void save())}
        onCancel={close}
        destroyOnHidden
      >
        <div className="stack">
          <label className="stack-tight" htmlFor={`window-${source.id}`}>
            <span>{t.servers.windowHint}</span>
            <Select
              id={`window-${source.id}`}
              value={windowMs}
              onChange={setWindowMs}
              options={lengths.map((value) => ({ value, label: formats.duration(value) }))}
            />
          </label>
          {windowMs < now ? <Preview vault={vault.id} source={source.id} windowMs={windowMs} /> : null}
          {windowMs > now ? <p>{t.vaults.longer}</p> : null}
          <FailureLine failure={isSure ? null : failure} />
        </div>
      </Modal>
      <NamedConfirm
        isOpen={isSure}
        title={t.vaults.shortenTitle(source.name, formats.duration(windowMs))}
        name={source.name}
        act={t.vaults.shorten}
        isBusy={isBusy}
        failure={failure}
        onConfirm={() => void save()}
        onClose={close}
      >
        <Preview vault={vault.id} source={source.id} windowMs={windowMs} />
      </NamedConfirm>
    </>
  )
}

/** What would be deleted for good. */
function Preview({ vault, source, windowMs }: { vault: string; source: string; windowMs: number }): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  const { data, error, refetch } = useQuery({
    queryKey: ['retention', vault, source, windowMs],
    queryFn: ({ signal }) =>
      get<RetentionAnswer>(vaultPath(vault, withQuery(`/sources/${source}/retention`, { windowMs })), signal),
  })
  if (error !== null) return <Failed failure={error} again={() => void refetch()} />
  if (data === undefined) return <Loading rows={3} />
  const { changes, journalBytes, earliestNow, earliestThen, marks } = data
  if (changes === 0 && marks.length === 0) return <p>{t.vaults.deletesNothing}</p>
  return (
    <div className="preview stack-tight">
      <p>
        <strong>{t.vaults.deletes(formats.count(changes), formats.bytes(journalBytes))}</strong>
      </p>
      {earliestNow === null || earliestThen === null ? null : (
        <p>{t.vaults.earliest(formats.moment(earliestNow), formats.moment(earliestThen))}</p>
      )}
      {marks.length === 0 ? null : (
        <>
          <p>{t.vaults.marksGo(marks.length)}</p>
          <ul>
            {marks.slice(0, marksShownMax).map(({ label, moment }) => (
              <li key={`${moment} ${label}`}>
                {formats.moment(moment)} {label}
              </li>
            ))}
          </ul>
        </>
      )}
    </div>
  )
}
