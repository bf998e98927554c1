import {
  BranchesOutlined,
  FlagOutlined,
  FolderOpenOutlined,
  RollbackOutlined,
  SafetyCertificateOutlined,
} from '@ant-design/icons'
import { Button, Input, Modal, Space } from 'antd'
import { type ReactNode, useState } from 'react'
import { useNavigate } from 'react-router'
import { sourcePath } from '../../api/around.ts'
import { useChange } from '../../api/changes.ts'
import { request } from '../../api/client.ts'
import { useMay } from '../../api/session.ts'
import { beginTask } from '../../api/tasks.ts'
import { useTexts } from '../../language/language.ts'
import type { PlacedSource, System } from '../../live/systems.ts'
import { FailureLine } from '../../shell/states.tsx'
import { toInstant } from '../../timeline/instant.ts'
import { writeMoment } from '../../timeline/surface.ts'
import { browseLink, restoreLink } from '../links.ts'

interface DeedsProps {
  readonly system: System
  readonly at: string | undefined
  readonly pointOf: (placed: PlacedSource) => string
}

/** What can be done with the chosen moment, as far as the role goes. */
export function Deeds({ system, at, pointOf }: DeedsProps): ReactNode {
  const t = useTexts()
  const may = useMay()
  const navigate = useNavigate()
  const [open, setOpen] = useState<'mark' | 'verify'>()
  const first = system.sources.find(({ source }) => source.kind === 'files') ?? system.sources[0]
  if (first === undefined) return null
  const place = { vault: first.vault.id, source: first.source.id, at: at === undefined ? undefined : pointOf(first) }
  return (
    <Space wrap size={6}>
      {may('contents') ? (
        <>
          <Button icon={<FolderOpenOutlined />} onClick={() => void navigate(browseLink(place))}>
            {t.system.browse}
          </Button>
          <Button
            icon={<BranchesOutlined />}
            onClick={() => void navigate(browseLink({ ...place, at: place.at ?? 'latest', to: 'latest' }))}
          >
            {t.system.compare}
          </Button>
        </>
      ) : null}
      {may('mark') ? (
        <Button icon={<FlagOutlined />} onClick={() => setOpen('mark')}>
          {t.system.mark}
        </Button>
      ) : null}
      {may('verify') ? (
        <Button icon={<SafetyCertificateOutlined />} onClick={() => setOpen('verify')}>
          {t.system.verify}
        </Button>
      ) : null}
      {may('restore') ? (
        <Button
          type="primary"
          icon={<RollbackOutlined />}
          onClick={() => void navigate(restoreLink(restoreOf(system, first, at, pointOf)))}
        >
          {t.system.restore}
        </Button>
      ) : null}
      {open === 'mark' ? <MarkDialog system={system} close={() => setOpen(undefined)} /> : null}
      {open === 'verify' ? (
        <VerifyDialog system={system} at={at} pointOf={pointOf} close={() => setOpen(undefined)} />
      ) : null}
    </Space>
  )
}

/** A system of one source is restored to its exact point, one of several to the moment they share. */
function restoreOf(system: System, first: PlacedSource, at: string | undefined, pointOf: DeedsProps['pointOf']) {
  if (system.sources.length > 1) return { system: system.name, at }
  return { vault: first.vault.id, source: first.source.id, at: at === undefined ? undefined : pointOf(first) }
}

function MarkDialog({ system, close }: { readonly system: System; readonly close: () => void }): ReactNode {
  const t = useTexts()
  const [text, setText] = useState('')
  const label = text.trim()
  const { ask, isBusy, failure } = useChange(
    async (wanted: string) => {
      for (const { vault, source } of system.sources)
        await request('POST', sourcePath(vault.id, source.id, '/marks'), { label: wanted })
    },
    { done: (_, wanted) => t.system.marked(wanted), touches: [] },
  )
  const mark = async (): Promise<void> => {
    if (await ask(label)) close()
  }
  return (
    <Modal
      open
      title={t.system.markTitle}
      okText={t.system.mark}
      cancelText={t.system.cancel}
      okButtonProps={{ disabled: label === '', loading: isBusy }}
      onOk={() => void mark()}
      onCancel={close}
    >
      <p>{t.system.markWhat(system.sources.map(({ source }) => source.name).join(', '))}</p>
      <FailureLine failure={failure} />
      <Input
        autoFocus
        maxLength={200}
        value={text}
        aria-label={t.system.markLabel}
        placeholder={t.system.markExample}
        onChange={({ target }) => setText(target.value)}
        onPressEnter={() => void (label === '' ? undefined : mark())}
      />
    </Modal>
  )
}

function VerifyDialog({ system, at, pointOf, close }: DeedsProps & { readonly close: () => void }): ReactNode {
  const t = useTexts()
  const { ask, isBusy, failure } = useChange(
    async (sources: readonly PlacedSource[]) => {
      for (const placed of sources)
        await beginTask(placed.vault.id, { kind: 'verify', source: placed.source.id, at: pointOf(placed) })
    },
    { done: () => t.system.verifyBegun, touches: [] },
  )
  const verify = async (): Promise<void> => {
    if (await ask(system.sources)) close()
  }
  return (
    <Modal
      open
      title={t.system.verifyTitle}
      okText={t.system.verify}
      cancelText={t.system.cancel}
      okButtonProps={{ loading: isBusy }}
      onOk={() => void verify()}
      onCancel={close}
    >
      <p>{t.system.verifyWhat(at === undefined ? t.system.newest : writeMoment(toInstant(at)))}</p>
      <FailureLine failure={failure} />
    </Modal>
  )
}
