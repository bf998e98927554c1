import { useMutation, useQueryClient } from '@tanstack/react-query'
import { App } from 'antd'

/**
 * A change that a person asks for: its failure stays for the form or the row to show, its success is said in passing, and what
 * it may have changed is asked for again.
 */
export function useChange<T, R = unknown>(
  act: (wanted: T) => Promise<R>,
  {
    done,
    touches,
  }: { done?: ((answer: R, wanted: T) => string) | undefined; touches: readonly (readonly unknown[])[] },
): { ask: (wanted: T) => Promise<boolean>; isBusy: boolean; failure: Error | null; forget: () => void } {
  const queries = useQueryClient()
  const { message } = App.useApp()
  const { mutateAsync, isPending, error, reset } = useMutation({
    mutationFn: act,
    onSuccess: async (answer, wanted) => {
      const said = done?.(answer, wanted)
      if (said !== undefined) void message.success(said)
      await Promise.all(touches.map((queryKey) => queries.invalidateQueries({ queryKey })))
    },
  })
  return {
    // The failure is in `failure`, which whoever asks shows.
    ask: (wanted) =>
      mutateAsync(wanted).then(
        () => true,
        () => false,
      ),
    isBusy: isPending,
    failure: error,
    forget: reset,
  }
}
