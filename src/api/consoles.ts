import { z } from 'zod'
import { identifier, isoMoment, name } from './schemas.ts'

/** How a console is let in at a vault. */
export const consoleEnrolRequest = z.object({ secret: z.string(), name, csr: z.string() })
export const consoleEnrolAnswer = z.object({
  console: identifier,
  name,
  vault: identifier,
  vaultName: z.string(),
  certificate: z.string(),
  ca: z.string(),
})
export const consoleRecord = z.object({
  id: identifier,
  name,
  connected: z.boolean(),
  revoked: z.boolean(),
  enrolled: isoMoment,
})
export const consoleTokenRequest = z.object({
  validMs: z
    .int()
    .min(60_000)
    .max(30 * 86_400_000)
    .default(3_600_000),
})

/** Header in which a console tells which of its users asks. */
export const byHeader = 'tidemark-by'
