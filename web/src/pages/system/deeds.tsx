import {
  BranchesOutlined,
  FlagOutlined,
  FolderOpenOutlined,
  RollbackOutlined,
  SafetyCertificateOutlined,
} from '@ant-design/icons'
import { App, Button, Input, Modal, Space } from 'antd'
import { type ReactNode, useState } from 'react'
import { useNavigate } from 'react-router'
import type { TaskRecord } from '../../../../src/api/tasks.ts'
import { sourcePath } from '../../api/around.ts'
import { request, vaultPath } from '../../api/client.ts'
import { useMay } from '../../api/session.ts'
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
  const { message } = App.useApp()
  const [label, setLabel] = useState('')
  const [failure, setFailure] = useState<Error | null>(null)
  const [isBusy, setBusy] = useState(false)
  const mark = async (): Promise<void> => {
    setBusy(true)
    try {
      for (const { vault, source } of system.sources)
        await request('POST', sourcePath(vault.id, source.id, '/marks'), { label: label.trim() })
      void message.success(t.system.marked(label.trim()))
      close()
    } catch (error) {
      setFailure(error as Error)
    } finally {
      setBusy(false)
    }
  }
  return (
    <Modal
      open
      title={t.system.markTitle}
      okText={t.system.mark}
      cancelText={t.system.cancel}
      okButtonProps={{ disabled: label.trim() === '', loading: isBusy }}
      onOk={() => void mark()}
      onCancel={close}
    >
      <p>{t.system.markWhat(system.sources.map(({ source }) => source.name).join(', '))}</p>
      <FailureLine failure={failure} />
      <Input
        autoFocus
        maxLength={200}
        value={label}
        aria-label={t.system.markLabel}
        placeholder={t.system.markExample}
        onChange={({ target }) => setLabel(target.value)}
        onPressEnter={() => void (label.trim() === '' ? undefined : mark())}
      />
    </Modal>
  )
}

function VerifyDialog({ system, at, pointOf, close }: DeedsProps & { readonly close: () => void }): ReactNode {
  const t = useTexts()
  const { message } = App.useApp()
  const [failure, setFailure] = useState<Error | null>(null)
  const [isBusy, setBusy] = useState(false)
  const verify = async (): Promise<void> => {
    setBusy(true)
    try {
      for (const placed of system.sources) {
        const body = { kind: 'verify', source: placed.source.id, at: pointOf(placed) }
        await request<TaskRecord>('POST', vaultPath(placed.vault.id, '/tasks'), body)
      }
      void message.success(t.system.verifyBegun)
      close()
    } catch (error) {
      setFailure(error as Error)
    } finally {
      setBusy(false)
    }
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
