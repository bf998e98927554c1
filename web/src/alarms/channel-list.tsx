import { PlusOutlined } from '@ant-design/icons'
import { App, Button, Table } from 'antd'
import { type ReactNode, useState } from 'react'
import type { z } from 'zod'
import type { Channel, channelTested } from '../../../src/api/console.ts'
import { channelsKey, useChannels } from '../api/alarms.ts'
import { useChange } from '../api/changes.ts'
import { request } from '../api/client.ts'
import { useFormats } from '../formats/formats.ts'
import { languageNames, useTexts } from '../language/language.ts'
import { useNow } from '../live/live.tsx'
import { Empty, Failed, Loading } from '../shell/states.tsx'
import { ChannelDrawer } from './channel-drawer.tsx'

/** Who is told, and whether he gets it. */
export function ChannelList(): ReactNode {
  const t = useTexts()
  const { data, error, refetch } = useChannels()
  const [edited, edit] = useState<Channel | 'new' | null>(null)
  if (error !== null && data === undefined) return <Failed failure={error} again={() => void refetch()} />
  if (data === undefined) return <Loading rows={4} />
  const add = (
    <Button type="primary" icon={<PlusOutlined />} onClick={() => edit('new')}>
      {t.channels.add}
    </Button>
  )
  return (
    <>
      {data.length === 0 ? (
        <Empty title={t.channels.none} hint={t.channels.noneHint}>
          {add}
        </Empty>
      ) : (
        <>
          <div className="alarms-filter">
            <p className="quiet">{t.channels.about}</p>
            {add}
          </div>
          <ChannelTable rows={data} edit={edit} />
        </>
      )}
      <ChannelDrawer edited={edited} onClose={() => edit(null)} />
    </>
  )
}

function ChannelTable({ rows, edit }: { rows: readonly Channel[]; edit: (channel: Channel) => void }): ReactNode {
  const t = useTexts()
  return (
    <Table<Channel>
      rowKey="id"
      size="small"
      pagination={false}
      scroll={{ x: 900 }}
      dataSource={[...rows]}
      columns={[
        { title: t.channels.name, render: (_, { name }) => <strong>{name}</strong> },
        { title: t.channels.kind, width: 90, render: (_, { kind }) => t.channels.kinds[kind] },
        {
          title: t.channels.to,
          render: (_, channel) => (channel.kind === 'smtp' ? channel.to.join(', ') : channel.host),
        },
        {
          title: t.channels.hears,
          width: 120,
          render: (_, { severities }) => severities.map((one) => t.alarms.severities[one]).join(', '),
        },
        { title: t.channels.language, width: 90, render: (_, { language }) => languageNames[language] },
        { title: t.channels.state, render: (_, channel) => <ChannelState channel={channel} /> },
        {
          title: <span className="only-read">{t.channels.actions}</span>,
          width: 280,
          render: (_, channel) => <ChannelActions channel={channel} edit={edit} />,
        },
      ]}
    />
  )
}

function ChannelState({ channel: { enabled, state } }: { channel: Channel }): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  const now = useNow(5_000)
  const { lastSent, lastError, waiting, nextTry } = state
  if (!enabled) return <span className="quiet">{t.channels.off}</span>
  return (
    <div className="alarm-sentence">
      <span className={lastSent === null ? 'quiet' : ''}>
        {lastSent === null ? t.channels.neverSent : t.channels.lastSent(formats.shortly(lastSent, now))}
      </span>
      {waiting === 0 ? null : (
        <span className="tone-late">
          {t.channels.waiting(formats.count(waiting))}
          {nextTry === null ? null : ` · ${t.channels.nextTry(formats.shortly(nextTry, now))}`}
        </span>
      )}
      {lastError === null ? null : <span className="tone-bad">{lastError}</span>}
    </div>
  )
}

function ChannelActions({ channel, edit }: { channel: Channel; edit: (channel: Channel) => void }): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  const { modal, message } = App.useApp()
  const { id, name } = channel
  const test = useChange(
    async () => {
      const { taken, ms, error } = await request<z.infer<typeof channelTested>>('POST', `/channels/${id}/test`)
      if (taken) void message.success(t.channels.taken(name, formats.duration(ms)))
      else {
        void modal.error({
          title: t.channels.notTaken(name),
          content: (
            <>
              <p>{error?.message}</p>
              <p className="quiet">{error?.hint}</p>
            </>
          ),
        })
      }
    },
    { touches: [channelsKey] },
  )
  const remove = useChange(() => request('DELETE', `/channels/${id}`), {
    done: () => t.channels.removed(name),
    touches: [channelsKey],
  })
  return (
    <div className="alarm-actions">
      <Button size="small" loading={test.isBusy} onClick={() => void test.ask(undefined)}>
        {test.isBusy ? t.channels.testing : t.channels.test}
      </Button>
      <Button size="small" onClick={() => edit(channel)}>
        {t.channels.edit}
      </Button>
      <Button
        size="small"
        danger
        onClick={() =>
          void modal.confirm({
            title: t.channels.removeTitle(name),
            content: t.channels.removeSentence,
            okText: t.channels.remove,
            okButtonProps: { danger: true },
            onOk: async () => {
              if (!(await remove.ask(undefined))) throw new Error(name)
            },
          })
        }
      >
        {t.channels.remove}
      </Button>
      {test.failure === null && remove.failure === null ? null : (
        <span className="tone-bad">{(test.failure ?? remove.failure)?.message}</span>
      )}
    </div>
  )
}
