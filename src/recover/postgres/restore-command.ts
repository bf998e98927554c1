/** A word of sh that means exactly this text. */
export const shellWord = (text: string): string => `'${text.replaceAll("'", String.raw`'\''`)}'`

/**
 * The script that PostgreSQL runs for each WAL file, in the data directory: `%f` and `%p`. Its ways to end: 0, the file is at its place;
 * 1, there is no such file, and recovery ends or goes on without; 126, it could not be had, and recovery must stop. `fetch` is the
 * command that brings a file from the vault into the folder (wal-cache.ts).
 */
export const restoreCommand = (fetch: string): string => `#!/bin/sh
# Brings WAL from the vault to the recovery of this server: restore-command FILE PLACE. Written by "tidemark restore".
folder=tidemark/wal
stop() {
  echo "tidemark: $1; recovery stops here and can be started again" >&2
  exit 126
}
take() {
  mv -f "$folder/$name" "$place" 2>/dev/null && rm -f "$folder/$name.wanted" && exit 0
}
name=$1
place=$2
case $name in *[!0-9A-Za-z.]* | '') stop "asked for '$name'" ;; esac
take
[ -e "$folder/complete" ] && exit 1
supplier=$(cat "$folder/supplier" 2>/dev/null)
if [ -n "$supplier" ] && [ -d "/proc/$supplier" ]; then
  rm -f "$folder/$name.missing" "$folder/$name.failed"
  : >"$folder/$name.wanted" || stop "cannot write into $folder"
  while [ -d "/proc/$supplier" ] && [ -e "$folder/supplier" ]; do
    [ -e "$folder/$name" ] && take
    [ -e "$folder/$name.missing" ] && rm -f "$folder/$name.wanted" && exit 1
    [ -e "$folder/$name.failed" ] && stop "$name: $(cat "$folder/$name.failed")"
    sleep 0.02
  done
  rm -f "$folder/$name.wanted"
  take
  [ -e "$folder/complete" ] && exit 1
fi
rm -f "$folder/$name.missing"
${fetch} "$name" "$folder" || stop "$name could not be fetched"
take
[ -e "$folder/$name.missing" ] && exit 1
stop "$name was not brought"
`
