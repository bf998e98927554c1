import type { Connection } from './protocol/connection.ts'
import { quotedIdentifier } from './sql-text.ts'

const firstWithGrants = 15

/** Whether the role may say for whom commits wait; undefined where it may, else why not and the statement that lets it. */
export async function checkZeroLossRight(
  sql: Connection,
  signal?: AbortSignal,
): Promise<{ readonly message: string; readonly hint: string } | undefined> {
  const hasGrants = sql.serverMajor >= firstWithGrants
  const alter = hasGrants
    ? `pg_catalog.has_parameter_privilege(current_user, 'synchronous_standby_names', 'ALTER SYSTEM')`
    : 'false'
  const [row = []] =
    (
      await sql.query(
        `SELECT rolsuper OR ${alter}, rolsuper OR pg_catalog.has_function_privilege('pg_catalog.pg_reload_conf()', 'EXECUTE'),
                pg_catalog.current_setting('allow_alter_system', true) IS DISTINCT FROM 'off', current_user
           FROM pg_catalog.pg_roles WHERE rolname = current_user`,
        signal,
        `reading what the role may at ${sql.where}`,
      )
    )[0]?.rows ?? []
  const [mayAlter, mayReload, isAllowed] = row.slice(0, 3).map((value) => value === 't')
  const user = row[3] ?? ''
  if (!isAllowed) {
    return {
      message: 'allow_alter_system is off, so commits cannot be made to wait for the vault, nor let go',
      hint: 'allow_alter_system = on in postgresql.conf, then reload; or protect it without zero loss',
    }
  }
  if (mayAlter && mayReload) return undefined
  const role = quotedIdentifier(user)
  const grants = [
    ...(mayAlter ? [] : [`GRANT ALTER SYSTEM ON PARAMETER synchronous_standby_names TO ${role};`]),
    ...(mayReload ? [] : [`GRANT EXECUTE ON FUNCTION pg_reload_conf() TO ${role};`]),
  ]
  return {
    message: `the role ${user} may not say that commits wait for the vault`,
    hint: `as a superuser: ${hasGrants ? grants.join(' ') : `ALTER ROLE ${role} SUPERUSER; (version ${firstWithGrants} has a smaller right)`}`,
  }
}
