import { z } from 'zod'
import { taskBody, taskRecord, tasksRequest } from '../../api/tasks.ts'
import { TidemarkError } from '../../base/errors.ts'
import { demandOperator } from '../access.ts'
import type { Context } from '../context.ts'
import type { Http } from '../../http/server.ts'
import type { Caller } from '../http.ts'
import { planTask } from '../tasks/plan.ts'

const which = z.object({ task: z.string() })

/** Long work: asked for here, done by an agent or the vault. */
export function taskRoutes(http: Http, context: Context): void {
  const { tasks } = context

  http.post(
    '/v1/tasks',
    {
      schema: {
        summary: 'Begin a restore, a pre-flight check, a verification, a discovery or a new baseline',
        description: 'Answered once the task is durable. It goes on without whoever asked for it.',
        body: taskBody,
        response: { 200: taskRecord },
      },
    },
    async (request) => {
      demandOperator(request.caller)
      const by = asker(request.caller, request.headers['tidemark-by'])
      return tasks.add(request.body, by, await planTask(request.body, context))
    },
  )

  http.get(
    '/v1/tasks',
    {
      schema: {
        summary: 'The newest tasks, newest first, without their logs',
        querystring: tasksRequest,
        response: { 200: z.array(taskRecord) },
      },
    },
    async (request) => {
      demandOperator(request.caller)
      return tasks.list(request.query)
    },
  )

  http.get(
    '/v1/tasks/:task',
    { schema: { summary: 'One task with its log', params: which, response: { 200: taskRecord } } },
    async (request) => {
      demandOperator(request.caller)
      return tasks.get(request.params.task)
    },
  )

  for (const what of ['cancel', 'resume'] as const) {
    http.post(
      `/v1/tasks/:task/${what}`,
      {
        schema: {
          summary: what === 'cancel' ? 'Stop a task' : 'Go on with a task that was interrupted',
          params: which,
          response: { 200: taskRecord },
        },
      },
      async (request) => {
        demandOperator(request.caller)
        return tasks[what](request.params.task, asker(request.caller, request.headers['tidemark-by']))
      },
    )
  }
}

const nameCharactersMax = 63

/** Who asks: a console says which of its users, percent-encoded where the name is not ASCII. */
function asker(caller: Caller, header: string | string[] | undefined): string {
  if (caller.kind !== 'console' || typeof header !== 'string') return 'operator'
  try {
    const name = decodeURIComponent(header)
    if (name !== '' && name.length <= nameCharactersMax && !/\p{C}/u.test(name)) return name
  } catch (error) {
    if (!(error instanceof URIError)) throw error
  }
  throw new TidemarkError('bad-request', {
    message: 'tidemark-by does not hold the name of a user',
    hint: 'send it in UTF-8, percent-encoded',
  })
}
