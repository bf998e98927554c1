/** A source text twice, at its full length: without its comments, and also without what its strings hold. */
export interface Blanked {
  readonly withoutComments: string
  readonly codeOnly: string
}

/** Tells code from comments, strings, templates and regular expressions, and puts spaces in the place of these. */
export function blank(text: string): Blanked {
  const comments: Span[] = []
  const literals: Span[] = []
  /** For each template we are within an expression of: how many braces of that expression are open. */
  const braces: number[] = []
  let at = text.startsWith('#!') ? endOfLine(text, 0) : 0

  while (at < text.length) {
    const start = at
    const character = text[at]
    if (text.startsWith('//', at)) {
      at = endOfLine(text, at)
      comments.push([start, at])
    } else if (text.startsWith('/*', at)) {
      at = after(text, '*/', at + 2)
      comments.push([start, at])
    } else if (character === "'" || character === '"') {
      at = endOfQuoted(text, at, character)
      literals.push([start + 1, at - 1])
    } else if (character === '/' && startsRegularExpression(text, at)) {
      at = endOfRegularExpression(text, at)
      literals.push([start + 1, at - 1])
    } else if (character === '`' || (character === '}' && braces.at(-1) === 0)) {
      if (character === '}') braces.pop()
      at = endOfTemplatePart(text, at + 1)
      literals.push([start + 1, at])
      if (text[at] === '`') at += 1
      else {
        braces.push(0)
        at += '${'.length
      }
    } else {
      if (character === '{' && braces.length > 0) braces.push(braces.pop()! + 1)
      if (character === '}' && braces.length > 0) braces.push(braces.pop()! - 1)
      at += 1
    }
  }
  return { withoutComments: wipe(text, comments), codeOnly: wipe(text, [...comments, ...literals]) }
}

type Span = readonly [start: number, end: number]

/** Puts spaces in the place of everything in `spans` but line ends, so that places and line numbers stay. */
function wipe(text: string, spans: readonly Span[]): string {
  let wiped = ''
  let kept = 0
  for (const [start, end] of spans.toSorted(([one], [other]) => one - other)) {
    wiped += text.slice(kept, start) + text.slice(start, end).replaceAll(/[^\n]/g, ' ')
    kept = end
  }
  return wiped + text.slice(kept)
}

const endOfLine = (text: string, from: number): number => after(text, '\n', from) - 1

function after(text: string, mark: string, from: number): number {
  const found = text.indexOf(mark, from)
  return found < 0 ? text.length + 1 : found + mark.length
}

function endOfQuoted(text: string, start: number, quote: string): number {
  let at = start + 1
  while (at < text.length && text[at] !== quote) at += text[at] === '\\' ? 2 : 1
  return at + 1
}

function endOfTemplatePart(text: string, start: number): number {
  let at = start
  while (at < text.length && text[at] !== '`' && !text.startsWith('${', at)) at += text[at] === '\\' ? 2 : 1
  return at
}

function endOfRegularExpression(text: string, start: number): number {
  let inClass = false
  let at = start + 1
  while (at < text.length && (inClass || text[at] !== '/')) {
    if (text[at] === '[') inClass = true
    if (text[at] === ']') inClass = false
    at += text[at] === '\\' ? 2 : 1
  }
  return at + 1
}

/**
 * A slash divides after a value; after an operator, an opening bracket or a keyword a regular expression starts. Right after
 * "<" it closes an element of JSX.
 */
function startsRegularExpression(text: string, at: number): boolean {
  if (text[at - 1] === '<') return false
  const before = text.slice(Math.max(0, at - 40), at).trimEnd()
  return before === '' || /[=(,:[!&|?{;+\-*%<>~^]$|\b(?:return|typeof|case|in|of|await|yield)$/.test(before)
}
