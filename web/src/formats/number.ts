/** `12 345 678`, with narrow spaces: the same in every language. */
export function formatCount(count: number): string {
  return Math.round(count)
    .toString()
    .replaceAll(/\B(?=(\d{3})+$)/g, '\u202f')
}

/** `38 %`, `0.4 %`. */
export function formatShare(share: number): string {
  const percent = share * 100
  return `${percent > 0 && percent < 9.95 ? percent.toFixed(1) : percent.toFixed(0)} %`
}
