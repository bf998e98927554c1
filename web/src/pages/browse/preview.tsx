import { useQuery } from '@tanstack/react-query'
import { Select } from 'antd'
import { type ReactNode, useEffect, useRef, useState } from 'react'
import type { EntryAnswer } from '../../../../src/api/schemas.ts'
import { getBytes } from '../../api/client.ts'
import { useFormats } from '../../formats/formats.ts'
import { useTexts } from '../../language/language.ts'
import { Failed, Loading } from '../../shell/states.tsx'
import { decodeText, type Encoding, encodings, imageTypeOf } from './decode.ts'
import { type Browsed, placePath } from './place.ts'

const textBytesMax = 256 * 1024
const imageBytesMax = 16 * 1024 * 1024

/** What a file held: as a picture, or as text that is only ever text. */
export function Preview({ browsed, entry }: { readonly browsed: Browsed; readonly entry: EntryAnswer }): ReactNode {
  const t = useTexts()
  const formats = useFormats()
  const [encoding, setEncoding] = useState<Encoding>('auto')
  const imageType = imageTypeOf(entry.path)
  const isTooLarge = imageType !== undefined && entry.bytes > imageBytesMax
  const length = Math.min(entry.bytes, imageType === undefined ? textBytesMax : imageBytesMax)
  const { data, error, refetch } = useQuery({
    queryKey: ['content', browsed, entry.path, entry.pathBytes, length],
    queryFn: ({ signal }) => getBytes(placePath(browsed, 'content', entry, { length }), signal),
    enabled: length > 0 && !isTooLarge,
  })
  if (entry.bytes === 0) return <p className="quiet">{t.browse.emptyFile}</p>
  if (isTooLarge) return <p className="quiet">{t.browse.imageTooLarge(formats.bytes(entry.bytes))}</p>
  if (error !== null) return <Failed failure={error} again={() => void refetch()} />
  if (data === undefined) return <Loading rows={5} />
  if (imageType !== undefined) return <Picture bytes={data} type={imageType} name={entry.path} />
  const text = decodeText(data, encoding)
  return (
    <>
      <div className="browse-encoding">
        {entry.bytes > length ? (
          <span className="quiet">{t.browse.previewCut(formats.bytes(length), formats.bytes(entry.bytes))}</span>
        ) : null}
        <Select<Encoding>
          size="small"
          aria-label={t.browse.encoding}
          value={encoding}
          onChange={setEncoding}
          options={encodings.map((value) => ({ value, label: t.browse.encodings[value] }))}
        />
      </div>
      {text === undefined ? (
        <p className="quiet">{t.browse.binary}</p>
      ) : (
        <textarea className="browse-text" readOnly rows={20} value={text} aria-label={t.browse.preview} />
      )}
    </>
  )
}

function Picture({
  bytes,
  type,
  name,
}: {
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly type: string
  readonly name: string
}): ReactNode {
  const image = useRef<HTMLImageElement>(null)
  useEffect(() => {
    const url = URL.createObjectURL(new Blob([bytes], { type }))
    if (image.current !== null) image.current.src = url
    return () => URL.revokeObjectURL(url)
  }, [bytes, type])
  return <img ref={image} className="browse-image" alt={name} />
}
