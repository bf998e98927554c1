import { Input, Modal } from 'antd'
import { type ReactNode, useState } from 'react'
import { useTexts } from '../language/language.ts'
import { FailureLine } from './states.tsx'

/** What cannot be undone says what it will do, and is done only when the name of its object has been typed. */
export function NamedConfirm({
  isOpen,
  title,
  name,
  act,
  isBusy,
  failure,
  onConfirm,
  onClose,
  children,
}: {
  isOpen: boolean
  title: string
  name: string
  /** The word on the button. */
  act: string
  isBusy: boolean
  failure: Error | null
  onConfirm: () => void
  onClose: () => void
  children: ReactNode
}): ReactNode {
  const t = useTexts()
  const [typed, setTyped] = useState('')
  return (
    <Modal
      open={isOpen}
      title={title}
      okText={act}
      okButtonProps={{ danger: true, disabled: typed !== name, loading: isBusy }}
      onOk={onConfirm}
      onCancel={onClose}
      afterClose={() => setTyped('')}
      destroyOnHidden
    >
      <div className="stack">
        {children}
        <label className="stack-tight">
          <span>{t.shell.typeName(name)}</span>
          <Input value={typed} onChange={({ target }) => setTyped(target.value)} autoComplete="off" />
        </label>
        <FailureLine failure={failure} />
      </div>
    </Modal>
  )
}
