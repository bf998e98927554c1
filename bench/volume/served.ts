/** A disk that a server gives to whoever asks at its Unix socket. */
export interface Served extends AsyncDisposable {
  readonly uri: string
  /** Of the server alone, since its start. */
  cpuSeconds(): number
  /** Of all that keeps the history too, since its start: where the server keeps none, the same. */
  cpuSecondsOfAll(): number
  /** Until what was written needs nobody's time any more. */
  untilQuiet(): Promise<void>
}

export interface Contestant {
  readonly who: string
  /** Serves what is in `file`, with what else it needs in the folder `place`. */
  serve(file: string, place: string): Promise<Served>
}

export const socketUri = (socket: string, exportName = ''): string => `nbd+unix:///${exportName}?socket=${socket}`
