import { CheckOutlined, CopyOutlined } from '@ant-design/icons'
import { Button } from 'antd'
import { type ReactNode, useState } from 'react'
import { useTexts } from '../language/language.ts'

/** A line to paste into a terminal. */
export function CopyLine({ line, label }: { line: string; label: string }): ReactNode {
  const t = useTexts()
  const [isCopied, setCopied] = useState(false)
  const copy = async (): Promise<void> => {
    await navigator.clipboard.writeText(line)
    setCopied(true)
  }
  return (
    <div className="copy-line">
      <textarea readOnly value={line} rows={3} aria-label={label} onFocus={(event) => event.currentTarget.select()} />
      {/* Only over HTTPS or from this PC a page may write to the clipboard; elsewhere the line is selected by a click. */}
      {window.isSecureContext ? (
        <Button
          icon={isCopied ? <CheckOutlined aria-hidden /> : <CopyOutlined aria-hidden />}
          onClick={() => void copy()}
        >
          {isCopied ? t.shell.copied : t.shell.copy}
        </Button>
      ) : null}
    </div>
  )
}
