import { Drawer, Form, InputNumber } from 'antd'
import type { ReactNode } from 'react'
import type { Thresholds } from '../../../src/api/console.ts'
import { thresholdsKey } from '../api/alarms.ts'
import { useChange } from '../api/changes.ts'
import { request } from '../api/client.ts'
import { useTexts } from '../language/language.ts'
import { FormEnd } from '../shell/form-end.tsx'
import { SystemSelect } from './alarm-filter.tsx'

export interface ThresholdsEdited {
  /** For a system that is still to be chosen; `row` is what it begins with. */
  readonly isNew: boolean
  readonly row: Thresholds
}

interface Fields {
  readonly system?: string
  readonly lagSeconds?: number | null
  readonly agentGoneSeconds: number
  readonly certificateDays: number
  readonly fullDays: number
  readonly verificationDays: number
}

export function ThresholdDrawer({
  edited,
  onClose,
}: {
  edited: ThresholdsEdited | null
  onClose: () => void
}): ReactNode {
  const t = useTexts()
  const { ask, isBusy, failure, forget } = useChange((wanted: Thresholds) => request('PUT', '/thresholds', wanted), {
    done: () => t.thresholds.saved,
    touches: [thresholdsKey],
  })
  const close = (): void => {
    forget()
    onClose()
  }
  const isOfSystem = edited !== null && (edited.isNew || edited.row.system !== undefined)
  const save = async ({
    lagSeconds,
    agentGoneSeconds,
    system = edited?.row.system,
    ...fields
  }: Fields): Promise<void> => {
    const wanted: Thresholds = {
      ...fields,
      agentGoneMs: agentGoneSeconds * 1000,
      ...(lagSeconds == null ? {} : { lagMsMax: lagSeconds * 1000 }),
      ...(system === undefined ? {} : { system }),
    }
    if (await ask(wanted)) close()
  }
  const needed = [{ required: true, message: t.thresholds.needed }]
  return (
    <Drawer
      open={edited !== null}
      onClose={close}
      destroyOnHidden
      title={
        edited === null || edited.isNew
          ? t.thresholds.titleNew
          : t.thresholds.titleOf(edited.row.system ?? t.thresholds.everything)
      }
    >
      {edited === null ? null : (
        <Form<Fields>
          layout="vertical"
          requiredMark={false}
          initialValues={fieldsOf(edited)}
          onFinish={(fields) => void save({ ...fieldsOf(edited), ...fields })}
        >
          {edited.isNew ? (
            <Form.Item
              name="system"
              label={t.thresholds.ofSystem}
              rules={[{ required: true, message: t.thresholds.chooseSystem }]}
            >
              <SystemSelect placeholder={t.thresholds.chooseSystem} />
            </Form.Item>
          ) : null}
          <Form.Item name="lagSeconds" label={t.thresholds.lagMax} extra={t.thresholds.lagMaxHint}>
            <InputNumber min={1} precision={0} />
          </Form.Item>
          <Form.Item name="agentGoneSeconds" label={t.thresholds.agentGone} rules={needed}>
            <InputNumber min={1} precision={0} />
          </Form.Item>
          {isOfSystem ? null : (
            <>
              <Form.Item name="certificateDays" label={t.thresholds.certificate} rules={needed}>
                <InputNumber min={1} precision={0} />
              </Form.Item>
              <Form.Item name="fullDays" label={t.thresholds.full} rules={needed}>
                <InputNumber min={1} precision={0} />
              </Form.Item>
            </>
          )}
          <Form.Item name="verificationDays" label={t.thresholds.verification} rules={needed}>
            <InputNumber min={1} precision={0} />
          </Form.Item>
          <FormEnd failure={failure} isBusy={isBusy} word={t.thresholds.save} />
        </Form>
      )}
    </Drawer>
  )
}

/** A system has no vault of its own, so what concerns vaults stays as it is. */
function fieldsOf({ row }: ThresholdsEdited): Fields {
  const { lagMsMax, agentGoneMs, certificateDays, fullDays, verificationDays } = row
  return {
    ...(lagMsMax === undefined ? {} : { lagSeconds: lagMsMax / 1000 }),
    agentGoneSeconds: agentGoneMs / 1000,
    certificateDays,
    fullDays,
    verificationDays,
  }
}
