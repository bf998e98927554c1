export const vaults = { name: 'Vault', url: 'Address', free: 'Free' }
