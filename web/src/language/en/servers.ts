export const servers = {
  name: 'Server',
  vault: 'Vault',
  none: 'No server is enrolled yet',
  noneHint: 'Enrol one: it gets a line to paste into a terminal of that server.',
}
