import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { App } from './shell/app.tsx'
import { giveStylesTheNonce } from './shell/style-nonce.ts'
import './shell/palette.css'
import './shell/shell.css'

giveStylesTheNonce()
const root = document.getElementById('root')
if (root === null) throw new Error('index.html has no place for the console')
createRoot(root).render(
  <StrictMode>
    <App />
  </StrictMode>,
)
