import { readFileSync } from 'node:fs'

const description = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string
}

export const softwareVersion: string = description.version
/** Name and version, as peers are told. */
export const software: string = `tidemark ${softwareVersion}`
