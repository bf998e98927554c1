import type { RecordDraft, RecordNumber } from '../../../format/volume-log.ts'
import type { ExportRequest } from '../../../nbd/export.ts'

/** What no client has asked for. */
export type OwnDraft = Extract<RecordDraft, { kind: 'mark' | 'resize' }>
export type Own = OwnDraft & { readonly taken: (number: RecordNumber) => void; readonly failed: () => void }

/** What waits for its number. */
export type Change = Exclude<ExportRequest, { kind: 'read' }> | Own

/** Of the server's own marks; those of users have a tag of the agent. */
export const ownTag = 0
