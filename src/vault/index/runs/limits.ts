export interface PackingLimits {
  /**
   * Files of so many bytes are packed once a part of them is written: for less, a few rows and looking them up cost less
   * than looking into runs. The file of a volume is packed whatever its size.
   */
  readonly fileBytesMin: number
  readonly rowsPerPage: number
  /** So many runs of a level become one of the next. */
  readonly runsPerLevel: number
}

export const packingLimits: PackingLimits = { fileBytesMin: 32 * 1024 * 1024, rowsPerPage: 1024, runsPerLevel: 8 }
