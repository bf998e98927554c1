/** What a key does while the timeline has the focus; undefined where it is not ours. */
export type KeyDeed =
  | { readonly kind: 'move'; readonly pixels: number }
  | { readonly kind: 'pan'; readonly share: number }
  | { readonly kind: 'zoom'; readonly factor: number }
  | { readonly kind: 'landmark'; readonly towards: 'earlier' | 'later' }
  | { readonly kind: 'end'; readonly which: 'earliest' | 'latest' }
  | { readonly kind: 'enter' }

interface Key {
  readonly key: string
  readonly shiftKey: boolean
  readonly ctrlKey: boolean
  readonly metaKey: boolean
  readonly altKey: boolean
}

const stepPixels = 10

/** Arrows move the chosen moment (with Shift by a pixel), up and down or + and - zoom, Page Up and Page Down go from mark to mark. */
export function deedOf({ key, shiftKey, ctrlKey, metaKey, altKey }: Key): KeyDeed | undefined {
  if (ctrlKey || metaKey || altKey) return undefined
  switch (key) {
    case 'ArrowLeft':
      return { kind: 'move', pixels: shiftKey ? -1 : -stepPixels }
    case 'ArrowRight':
      return { kind: 'move', pixels: shiftKey ? 1 : stepPixels }
    case '<':
    case ',':
      return { kind: 'pan', share: -0.25 }
    case '>':
    case '.':
      return { kind: 'pan', share: 0.25 }
    case 'ArrowUp':
    case '+':
    case '=':
      return { kind: 'zoom', factor: 1 / 1.6 }
    case 'ArrowDown':
    case '-':
    case '_':
      return { kind: 'zoom', factor: 1.6 }
    case 'PageUp':
      return { kind: 'landmark', towards: 'earlier' }
    case 'PageDown':
      return { kind: 'landmark', towards: 'later' }
    case 'Home':
      return { kind: 'end', which: 'earliest' }
    case 'End':
      return { kind: 'end', which: 'latest' }
    case 'Enter':
      return { kind: 'enter' }
    default:
      return undefined
  }
}
