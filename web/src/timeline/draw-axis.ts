import type { Picture } from './picture.ts'
import { heightOfAll } from './layout.ts'
import { pixelAt } from './scale.ts'
import { ticksOf } from './ticks.ts'

const apartPixels = 92
const coarseBaseline = 13
const fineBaseline = 31
const pillHeight = 18

/** Two rows of labels: what the fine ones leave out stands above them, and stays at the left edge while its time is shown. */
export function drawAxis(context: CanvasRenderingContext2D, { scale, layout, labels, zone, theme }: Picture): void {
  const { fine, coarse } = ticksOf(scale, zone, apartPixels)
  const bottom = heightOfAll(layout)
  context.font = theme.font
  context.textBaseline = 'middle'
  context.textAlign = 'left'
  for (const tick of fine) {
    const x = Math.round(pixelAt(scale, tick.at))
    context.fillStyle = theme.line
    context.fillRect(x, fineBaseline - 7, 1, bottom - fineBaseline + 7)
    context.fillStyle = theme.inkQuiet
    context.fillText(labels.fine(tick), x + 5, fineBaseline)
  }
  context.fillStyle = theme.ink
  for (const [index, tick] of coarse.entries()) {
    const x = pixelAt(scale, tick.at)
    const next = coarse[index + 1]
    const text = labels.coarse(tick)
    const width = context.measureText(text).width
    const left = Math.max(8, x + 5)
    if (next !== undefined && left + width + 10 > pixelAt(scale, next.at)) continue
    context.fillText(text, left, coarseBaseline)
    if (x > 0) context.fillRect(Math.round(x), 3, 1, 20)
  }
}

/** Through all tracks: now, where the pointer is, and the moment that is chosen. */
export function drawChosen(context: CanvasRenderingContext2D, picture: Picture): void {
  const { scale, layout, theme, now, nowText, chosen, hover } = picture
  const bottom = heightOfAll(layout)
  const line = (x: number, colour: string, width: number): void => {
    context.fillStyle = colour
    context.fillRect(Math.round(x - width / 2), layout.axisHeight - 4, width, bottom - layout.axisHeight + 4)
  }
  const nowX = pixelAt(scale, now)
  if (nowX >= 0 && nowX <= scale.width) {
    line(nowX, theme.now, 1)
    pill(context, picture, { x: nowX, text: nowText, colour: theme.background, letters: theme.now })
  }
  if (hover !== undefined) {
    line(hover.x, theme.inkQuiet, 1)
    pill(context, picture, { x: hover.x, text: hover.text, colour: theme.background, letters: theme.ink })
  }
  if (chosen === undefined) return
  const x = pixelAt(scale, chosen.at)
  if (x < -200 || x > scale.width + 200) return
  line(x, theme.chosen, 2)
  if (x >= 0 && x <= scale.width)
    pill(context, picture, { x, text: chosen.text, colour: theme.chosen, letters: theme.chosenText })
}

interface Pill {
  readonly x: number
  readonly text: string
  readonly colour: string
  readonly letters: string
}

/** A label on the axis, moved as far as keeps it within the canvas. */
function pill(context: CanvasRenderingContext2D, { scale, layout, theme }: Picture, told: Pill): void {
  context.font = theme.font
  const width = context.measureText(told.text).width + 14
  const left = Math.max(0, Math.min(scale.width - width, told.x - width / 2))
  const top = layout.axisHeight - pillHeight - 4
  context.fillStyle = told.colour
  context.beginPath()
  context.roundRect(left, top, width, pillHeight, 4)
  context.fill()
  context.fillStyle = told.letters
  context.textBaseline = 'middle'
  context.textAlign = 'left'
  context.fillText(told.text, left + 7, top + pillHeight / 2 + 0.5)
}
