import { Button, Steps } from 'antd'
import { type ReactNode, useState } from 'react'
import { useSearchParams } from 'react-router'
import { useTexts } from '../language/language.ts'
import { useLive } from '../live/live.tsx'
import type { System } from '../live/systems.ts'
import { useSystems } from '../live/use-systems.ts'
import { Empty, Loading } from '../shell/states.tsx'
import { trackKey } from '../timeline/vault-past.ts'
import { CheckStep } from './restore/check-step.tsx'
import { MomentStep } from './restore/moment-step.tsx'
import { chosenSources, isPlaced, type Plan } from './restore/plan.ts'
import { WhatStep } from './restore/what-step.tsx'
import { WhereStep } from './restore/where-step.tsx'
import './restore/restore.css'

/** What, which moment, where to, and only after the answers of a check the button that does it. */
export function Component(): ReactNode {
  const t = useTexts()
  const live = useLive()
  const systems = useSystems()
  if (live.connection.kind === 'connecting') return <Loading rows={8} />
  const restorable = systems.filter(({ sources }) => sources.some(({ source }) => source.earliest !== null))
  if (restorable.length === 0) return <Empty title={t.restore.nothing} hint={t.restore.nothingHint} />
  return <Wizard systems={restorable} />
}

const lastStep = 3

function Wizard({ systems }: { readonly systems: readonly System[] }): ReactNode {
  const t = useTexts()
  const [parameters] = useSearchParams()
  const [plan, setPlan] = useState(() => planOf(parameters, systems))
  const [step, setStep] = useState(plan.system === undefined ? 0 : parameters.get('at') === null ? 1 : 2)
  const system = systems.find(({ name }) => name === plan.system)
  const sources = chosenSources(plan, system)
  const change = (wanted: Partial<Plan>): void => setPlan((before) => ({ ...before, ...wanted }))
  const mayGoOn = [sources.length > 0, sources.length > 0, isPlaced(plan, sources)][step] ?? false
  return (
    <section className="panel restore" aria-label={t.shell.restore}>
      <Steps
        size="small"
        current={step}
        onChange={(wanted) => (wanted < step ? setStep(wanted) : undefined)}
        items={[
          { title: t.restore.steps.what },
          { title: t.restore.steps.moment },
          { title: t.restore.steps.where },
          { title: t.restore.steps.check },
        ]}
      />
      <div className="restore-step">
        {step === 0 ? (
          <WhatStep systems={systems} system={system} plan={plan} change={change} />
        ) : step === 1 ? (
          <MomentStep sources={sources} plan={plan} change={change} />
        ) : step === 2 ? (
          <WhereStep sources={sources} plan={plan} change={change} />
        ) : (
          <CheckStep sources={sources} plan={plan} />
        )}
      </div>
      <footer className="restore-turn">
        {step === 0 ? null : <Button onClick={() => setStep(step - 1)}>{t.restore.back}</Button>}
        {step === lastStep ? null : (
          <Button type="primary" disabled={!mayGoOn} onClick={() => setStep(step + 1)}>
            {t.restore.next}
          </Button>
        )}
      </footer>
    </section>
  )
}

/** What the page that led here has chosen already. */
function planOf(parameters: URLSearchParams, systems: readonly System[]): Plan {
  const [vault, sourceId, path] = [parameters.get('vault'), parameters.get('source'), parameters.get('path')]
  const ofSource =
    vault === null || sourceId === null
      ? undefined
      : systems.find(({ sources }) => sources.some((one) => one.vault.id === vault && one.source.id === sourceId))
  const named = systems.find(({ name }) => name === parameters.get('system'))
  return {
    system: (ofSource ?? named)?.name,
    source: ofSource === undefined || vault === null || sourceId === null ? undefined : trackKey(vault, sourceId),
    paths: path === null ? [] : [path],
    at: parameters.get('at') ?? 'latest',
    agent: undefined,
    to: '',
    isInPlace: false,
    typedName: '',
    start: false,
  }
}
