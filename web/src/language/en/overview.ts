export const overview = {
  systems: 'Systems',
  system: 'System',
  state: 'State',
  lag: 'Lag',
  noVault: 'This console knows no vault yet',
  noVaultHint:
    'On the vault, run "tidemark vault token --console", then add the vault on the page Vaults with its address and that token.',
  noSystem: 'Nothing is protected yet',
  noSystemHint: 'Enrol a server on the page Servers, then choose what of it to protect.',
}
