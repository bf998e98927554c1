import type { Theme } from './picture.ts'

const font =
  '12px -apple-system, "Segoe UI", "Noto Sans", "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", "Noto Sans SC", sans-serif'

/** As in shell/palette.css: a canvas cannot read them there. */
export const lightTheme: Theme = {
  background: '#ffffff',
  trackAlternate: '#f7fafa',
  line: '#e6edef',
  lineStrong: '#d3dde0',
  ink: '#14232b',
  inkQuiet: '#51656e',
  activity: '#3d8cab',
  activityUnknown: '#dfe6e8',
  hole: '#bd2f1b',
  suspect: 'rgba(214, 138, 0, 0.20)',
  mark: '#86459a',
  transaction: '#4d53b8',
  good: '#0a7257',
  bad: '#bd2f1b',
  outside: 'rgba(95, 113, 121, 0.12)',
  chosen: '#c2185b',
  chosenText: '#ffffff',
  now: '#51656e',
  font,
}

export const darkTheme: Theme = {
  background: '#131e24',
  trackAlternate: '#16232a',
  line: '#202d34',
  lineStrong: '#2b3b44',
  ink: '#e2ecef',
  inkQuiet: '#9cb1ba',
  activity: '#3f93b5',
  activityUnknown: '#233138',
  hole: '#ff7660',
  suspect: 'rgba(240, 177, 63, 0.18)',
  mark: '#cf9be2',
  transaction: '#9b9ff7',
  good: '#41c8a0',
  bad: '#ff7660',
  outside: 'rgba(147, 166, 174, 0.10)',
  chosen: '#ff6ea6',
  chosenText: '#2a0714',
  now: '#9cb1ba',
  font,
}
