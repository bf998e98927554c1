import { theme as antTheme, type ThemeConfig } from 'antd'
import { useEffect, useSyncExternalStore } from 'react'
import { usePreferences } from './preferences.ts'

/** The colours that antd has to know; the others stand in palette.css, by the same names. */
const colours = {
  light: {
    accent: '#17607d',
    onAccent: '#ffffff',
    ground: '#eef2f3',
    panel: '#ffffff',
    raised: '#ffffff',
    line: '#d3dde0',
    ink: '#14232b',
    inkQuiet: '#51656e',
    good: '#0a7257',
    late: '#955900',
    bad: '#bd2f1b',
    working: '#4d53b8',
  },
  dark: {
    accent: '#5bb6d6',
    onAccent: '#04141b',
    ground: '#0b1317',
    panel: '#131e24',
    raised: '#18252c',
    line: '#26353d',
    ink: '#e2ecef',
    inkQuiet: '#9cb1ba',
    good: '#41c8a0',
    late: '#f0b13f',
    bad: '#ff7660',
    working: '#9b9ff7',
  },
} as const

const darkSystem = window.matchMedia('(prefers-color-scheme: dark)')

/** Light or dark, as chosen or as the system has it at this moment. */
export function useThemeName(): 'light' | 'dark' {
  const { theme } = usePreferences()
  const isDarkSystem = useSyncExternalStore(
    (listener) => {
      darkSystem.addEventListener('change', listener)
      return () => darkSystem.removeEventListener('change', listener)
    },
    () => darkSystem.matches,
  )
  if (theme !== 'system') return theme
  return isDarkSystem ? 'dark' : 'light'
}

/** Lets palette.css follow. */
export function usePaletteOf(name: 'light' | 'dark'): void {
  useEffect(() => {
    document.documentElement.dataset['theme'] = name
  }, [name])
}

export function antThemeOf(name: 'light' | 'dark'): ThemeConfig {
  const colour = colours[name]
  return {
    algorithm: name === 'dark' ? antTheme.darkAlgorithm : antTheme.defaultAlgorithm,
    token: {
      colorPrimary: colour.accent,
      colorInfo: colour.accent,
      colorLink: colour.accent,
      colorSuccess: colour.good,
      colorWarning: colour.late,
      colorError: colour.bad,
      colorBgLayout: colour.ground,
      colorBgContainer: colour.panel,
      colorBgElevated: colour.raised,
      colorBorder: colour.line,
      colorBorderSecondary: colour.line,
      colorText: colour.ink,
      colorTextSecondary: colour.inkQuiet,
      colorTextTertiary: colour.inkQuiet,
      colorTextDescription: colour.inkQuiet,
      colorTextPlaceholder: colour.inkQuiet,
      borderRadius: 4,
      controlHeight: 30,
      controlHeightSM: 24,
      fontSize: 13,
      fontFamily: 'var(--font)',
      fontFamilyCode: 'var(--font-code)',
      wireframe: false,
      motionDurationMid: '0.12s',
      motionDurationSlow: '0.16s',
    },
    components: {
      Table: {
        headerBg: 'transparent',
        headerColor: colour.inkQuiet,
        rowHoverBg: 'var(--hover)',
        cellPaddingBlockSM: 6,
      },
      Menu: { itemBorderRadius: 4 },
      Button: {
        primaryColor: colour.onAccent,
        dangerColor: colour.onAccent,
        primaryShadow: 'none',
        defaultShadow: 'none',
        dangerShadow: 'none',
      },
    },
  }
}
