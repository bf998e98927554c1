export const units = { ms: 'ms', s: 's', min: 'min', h: 'h', d: 'd' }
