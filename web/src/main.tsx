import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { App } from './shell/app.tsx'
import './shell/palette.css'
import './shell/shell.css'

/** Styles that are made while the console runs need the nonce of the answer that brought this page. */
const nonce = document.querySelector<HTMLMetaElement>('meta[property="csp-nonce"]')?.nonce

const root = document.getElementById('root')
if (root === null) throw new Error('index.html has no place for the console')
createRoot(root).render(
  <StrictMode>
    <App nonce={nonce} />
  </StrictMode>,
)
