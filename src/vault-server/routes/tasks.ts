import { z } from 'zod'
import { taskBody, taskRecord, tasksRequest } from '../../api/tasks.ts'
import { asker, demandOperator } from '../access.ts'
import type { Context } from '../context.ts'
import type { Http } from '../../http/server.ts'
import { planTask } from '../tasks/plan.ts'

const which = z.object({ task: z.string() })

/** Long work: asked for here, done by an agent or the vault. */
export function taskRoutes(http: Http, context: Context): void {
  const { tasks, vault } = context

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
      const by = asker(vault.registry, request.caller, request.headers['tidemark-by'])
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
        return tasks[what](request.params.task, asker(vault.registry, request.caller, request.headers['tidemark-by']))
      },
    )
  }
}
