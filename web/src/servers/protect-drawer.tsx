import { AutoComplete, Button, Descriptions, Drawer, Form, Input, Select, Steps, Switch } from 'antd'
import { type ReactNode, useState } from 'react'
import { Link } from 'react-router'
import type { SourceStatus } from '../../../src/api/schemas.ts'
import { useChange } from '../api/changes.ts'
import { request, vaultPath } from '../api/client.ts'
import { useMay } from '../api/session.ts'
import type { PlacedAgent } from '../api/vaults.ts'
import { useFormats } from '../formats/formats.ts'
import { useTexts } from '../language/language.ts'
import { useLive } from '../live/live.tsx'
import { FailureLine, Notice } from '../shell/states.tsx'
import { DiscoveryStep } from './discovery.tsx'
import { LimitsEditor } from './limits-editor.tsx'
import {
  type Choice,
  defaultFields,
  degradesMs,
  lagsMs,
  namePattern,
  type PolicyFields,
  proposedName,
  requestOf,
  whatOf,
  windowsMs,
} from './protect-plan.ts'

const patternSample = '*.tmp'

/** From "what is there" to "it is protected", in three steps. */
export function ProtectDrawer({
  row,
  isOpen,
  onClose,
}: {
  row: PlacedAgent
  isOpen: boolean
  onClose: () => void
}): ReactNode {
  const t = useTexts()
  return (
    <Drawer open={isOpen} onClose={onClose} title={t.servers.protectOf(row.agent.name)} size={760} destroyOnHidden>
      <ProtectSteps row={row} onClose={onClose} />
    </Drawer>
  )
}

function ProtectSteps({ row, onClose }: { row: PlacedAgent; onClose: () => void }): ReactNode {
  const t = useTexts()
  const [step, setStep] = useState(0)
  const [choice, setChoice] = useState<Choice | null>(null)
  const [fields, setFields] = useState<PolicyFields | null>(null)
  const [form] = Form.useForm<PolicyFields>()
  const { ask, isBusy, failure } = useChange(
    () =>
      request<SourceStatus>(
        'POST',
        vaultPath(row.vault.id, '/sources'),
        choice && fields && requestOf(choice, fields, row.agent.id),
      ),
    {
      touches: [
        ['agents', row.vault.id],
        ['discovery', row.vault.id, row.agent.id],
      ],
    },
  )
  const next = async (): Promise<void> => {
    if (step === 0 && choice !== null) {
      form.setFieldsValue({ ...defaultFields, name: proposedName(choice, row.agent.name) })
      setStep(1)
    } else if (step === 1) {
      await form.validateFields()
      setFields({ ...defaultFields, ...form.getFieldsValue() })
      setStep(2)
    } else if (await ask(undefined)) setStep(3)
  }
  if (step === 3 && fields !== null) return <Begun fields={fields} onClose={onClose} />
  return (
    <div className="stack">
      <Steps
        size="small"
        current={step}
        items={[{ title: t.servers.steps.what }, { title: t.servers.steps.how }, { title: t.servers.steps.check }]}
      />
      {!row.agent.connected ? (
        <Notice tone="bad" title={t.servers.notConnected} hint={t.servers.stateSentences.away} />
      ) : null}
      <div hidden={step !== 0}>
        <DiscoveryStep row={row} choice={choice} onChoose={setChoice} />
      </div>
      {choice === null ? null : (
        <div hidden={step !== 1}>
          <PolicyForm row={row} choice={choice} form={form} />
        </div>
      )}
      {step === 2 && choice !== null && fields !== null ? <Summary row={row} choice={choice} fields={fields} /> : null}
      <FailureLine failure={failure} />
      <div className="row row-end">
        {step === 0 ? null : <Button onClick={() => setStep(step - 1)}>{t.servers.back}</Button>}
        <Button
          type="primary"
          disabled={choice === null}
          loading={isBusy}
          onClick={() => void next().catch(stayOnStep)}
        >
          {step === 2 ? t.servers.begin : t.servers.next}
        </Button>
      </div>
    </div>
  )
}

/** A field that is not filled as it must be says so itself. */
function stayOnStep(error: unknown): void {
  if (typeof error !== 'object' || error === null || !('errorFields' in error)) throw error
}

function PolicyForm({
  row,
  choice,
  form,
}: {
  row: PlacedAgent
  choice: Choice
  form: ReturnType<typeof Form.useForm<PolicyFields>>[0]
}): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  const may = useMay()
  const { vaults } = useLive()
  const isZeroLoss = Form.useWatch('isZeroLoss', form)
  const systems = new Set(
    [...vaults.values()].flatMap(({ sources }) => [...sources.values()].flatMap(({ system }) => system ?? [])),
  )
  const lengths = (all: readonly number[]) => all.map((value) => ({ value, label: formats.duration(value) }))
  const nameRule = { pattern: namePattern, message: t.servers.nameRule }
  return (
    <>
      <Form form={form} layout="vertical" initialValues={defaultFields} requiredMark={false}>
        <div className="fields">
          <Form.Item
            name="name"
            label={t.servers.sourceName}
            rules={[{ required: true, message: t.servers.nameRule }, nameRule]}
          >
            <Input maxLength={63} />
          </Form.Item>
          <Form.Item name="system" label={t.servers.system} extra={t.servers.systemHint} rules={[nameRule]}>
            <AutoComplete options={[...systems].map((value) => ({ value }))} />
          </Form.Item>
          <Form.Item name="windowMs" label={t.servers.window} extra={t.servers.windowHint}>
            <Select options={lengths(windowsMs)} />
          </Form.Item>
          <Form.Item name="lagMsMax" label={t.servers.allowed} extra={t.servers.allowedHint}>
            <Select options={lengths(lagsMs)} />
          </Form.Item>
        </div>
        {choice.kind === 'files' ? (
          <Form.Item name="exclude" label={t.servers.exclude} extra={t.servers.excludeHint}>
            <Select mode="tags" open={false} suffix={null} tokenSeparators={['\n']} placeholder={patternSample} />
          </Form.Item>
        ) : (
          <div className="fields">
            <Form.Item
              name="isZeroLoss"
              label={t.servers.zeroLoss}
              extra={t.servers.zeroLossHint[choice.kind]}
              valuePropName="checked"
            >
              <Switch />
            </Form.Item>
            <Form.Item
              name="degradeMs"
              label={t.servers.degrade}
              extra={t.servers.degradeHint}
              hidden={isZeroLoss !== true}
            >
              <Select options={[...lengths(degradesMs), { value: null, label: t.servers.never }]} />
            </Form.Item>
          </div>
        )}
        {choice.kind === 'postgres' ? <p className="quiet">{t.servers.passwordHint}</p> : null}
      </Form>
      {may('servers') ? (
        <details className="limits-in-steps">
          <summary>{t.servers.limitsOf(row.agent.name)}</summary>
          <LimitsEditor key={JSON.stringify(row.agent.limits)} vault={row.vault.id} agent={row.agent} />
        </details>
      ) : null}
    </>
  )
}

function Summary({ row, choice, fields }: { row: PlacedAgent; choice: Choice; fields: PolicyFields }): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  const rows: [string, string][] = [
    [t.servers.name, row.agent.name],
    [t.servers.vault, row.vault.name],
    [t.servers.what, `${t.servers.kinds[choice.kind]} ${whatOf(choice)}`],
    [t.servers.sourceName, fields.name],
    [t.servers.system, fields.system === undefined || fields.system === '' ? fields.name : fields.system],
    [t.servers.window, formats.duration(fields.windowMs)],
    [t.servers.allowed, formats.duration(fields.lagMsMax)],
    ...(fields.exclude.length > 0 ? [[t.servers.exclude, fields.exclude.join('  ')] as [string, string]] : []),
    ...(choice.kind === 'files' ? [] : [[t.servers.zeroLoss, zeroLossText()] as [string, string]]),
  ]
  function zeroLossText(): string {
    if (!fields.isZeroLoss) return t.servers.no
    return fields.degradeMs === null ? t.servers.yesAlways : t.servers.yesUntil(formats.duration(fields.degradeMs))
  }
  return (
    <>
      <Descriptions
        size="small"
        column={1}
        bordered
        items={rows.map(([label, children]) => ({ key: label, label, children }))}
      />
      <p className="quiet">{t.servers.beginHint}</p>
    </>
  )
}

function Begun({ fields, onClose }: { fields: PolicyFields; onClose: () => void }): ReactNode {
  const t = useTexts()
  const system = fields.system === undefined || fields.system === '' ? fields.name : fields.system
  return (
    <Notice tone="good" title={t.servers.begun(fields.name)} hint={t.servers.begunHint}>
      <div className="row">
        <Link to={`/systems/${encodeURIComponent(system)}`}>{t.servers.toSystem}</Link>
        <Button onClick={onClose}>{t.servers.close}</Button>
      </div>
    </Notice>
  )
}
