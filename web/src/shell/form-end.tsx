import { Button } from 'antd'
import type { ReactNode } from 'react'
import { FailureLine } from './states.tsx'

/** What a form ends with: why what was sent is refused, and the button that sends it. */
export function FormEnd({
  failure,
  isBusy,
  word,
}: {
  readonly failure: Error | null
  readonly isBusy: boolean
  readonly word: string
}): ReactNode {
  return (
    <>
      <FailureLine failure={failure} />
      <Button type="primary" htmlType="submit" loading={isBusy}>
        {word}
      </Button>
    </>
  )
}
