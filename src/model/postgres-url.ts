/**
 * What is known of the URL of a PostgreSQL server where it is only passed on and told: whether it holds a password. It errs on the side
 * of yes: a password that is written wrongly is one all the same.
 */

/** From a colon in what stands before the "@" up to the last "@": a password may hold one. All parts are bounded: others choose the text. */
const inAuthority = /(:\/\/[^:/?#@\s]{0,256}):[^?#\s]{0,512}@/g
const inSearch = /([?&](?:ssl)?pass(?:word|wd)?=)[^&#\s]*/gi

export const withoutPassword = (url: string): string => url.replaceAll(inAuthority, '$1:…@').replaceAll(inSearch, '$1…')

export const holdsPassword = (url: string): boolean => withoutPassword(url) !== url
