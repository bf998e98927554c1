import { MutationCache, QueryCache, QueryClient, QueryClientProvider } from '@tanstack/react-query'
import { App as AntApp, ConfigProvider } from 'antd'
import antEnglish from 'antd/locale/en_US'
import antChinese from 'antd/locale/zh_CN'
import dayjs from 'dayjs'
import 'dayjs/locale/zh-cn'
import { type ReactNode, useEffect } from 'react'
import { createBrowserRouter, type RouteObject, RouterProvider } from 'react-router'
import { ApiFailure } from '../api/client.ts'
import { forget, sessionEnded } from '../api/session.ts'
import { useTexts } from '../language/language.ts'
import { Broken, NotFound } from './broken.tsx'
import { Frame } from './frame.tsx'
import { usePreferences } from './preferences.ts'
import { type Page, pages, wall } from './routes.tsx'
import { Guarded, SignedIn } from './signed-in.tsx'
import { Loading } from './states.tsx'
import { antThemeOf, usePaletteOf, useThemeName } from './theme.ts'

/** What vaults and consoles refuse they refuse again; a lost answer is asked for once more. */
const triesMax = 1
const staleMs = 5_000

/** Whatever is asked for after the session has ended leads to the sign-in, and from there back to the same page. */
const onError = (error: unknown): void => {
  if (sessionEnded(error)) forget(queries)
}

const queries = new QueryClient({
  queryCache: new QueryCache({ onError }),
  mutationCache: new MutationCache({ onError }),
  defaultOptions: {
    queries: {
      staleTime: staleMs,
      retry: (tries, error) => tries < triesMax && !(error instanceof ApiFailure && error.status >= 400),
    },
  },
})

const router = createBrowserRouter([
  {
    element: <SignedIn />,
    hydrateFallbackElement: <Loading rows={8} />,
    errorElement: <Broken />,
    children: [
      { errorElement: <Broken />, children: [routeOf(wall)] },
      {
        element: <Frame />,
        children: [
          { errorElement: <Broken />, children: [...pages.map(routeOf), { path: '*', element: <NotFound /> }] },
        ],
      },
    ],
  },
])

function routeOf({ path, action, load }: Page): RouteObject {
  return {
    path,
    lazy: async () => {
      const { Component } = await load()
      return { element: <Guarded action={action} page={<Component />} /> }
    },
  }
}

export function App(): ReactNode {
  const t = useTexts()
  const { language } = usePreferences()
  const themeName = useThemeName()
  usePaletteOf(themeName)
  useEffect(() => {
    document.documentElement.lang = language
    document.title = t.shell.product
    dayjs.locale(language === 'zh-CN' ? 'zh-cn' : 'en')
  }, [language, t])
  return (
    <ConfigProvider
      button={{ autoInsertSpace: false }}
      locale={language === 'zh-CN' ? antChinese : antEnglish}
      theme={antThemeOf(themeName)}
    >
      <AntApp className="app">
        <QueryClientProvider client={queries}>
          <RouterProvider router={router} />
        </QueryClientProvider>
      </AntApp>
    </ConfigProvider>
  )
}
