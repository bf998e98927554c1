/**
 * Makes a checkout ready, then runs a program of it by the project's own Node.js:
 *
 *   node scripts/setup.mjs [--need package,…] [--want package,…] [--unpack package,…] [--engines] [--web] [-- program argument…]
 *
 * Needs Node.js 20 and npm, nothing else, so it is plain JavaScript and imports only what Node.js brings.
 * Every step says in one line what it does; where nothing is to be done, nothing is said.
 *
 *   npm packages     as package-lock.json says, into node_modules, without running their install scripts
 *   --need, --want   Debian packages, installed where this is root on Debian or Ubuntu. Elsewhere a missing one is
 *                    named: a needed one ends the run, a wanted one is left out and listed in TIDEMARK_MISSING
 *   --unpack         Debian packages that are wanted and not to be installed, such as a kernel: their files come into
 *                    .packages/PACKAGE; a package that only stands for another one, of the same name and a version, brings that
 *   --engines        the database servers of test/engines, which are npm packages too
 *   --web            the console's browser part, built into web/dist if that is older than its sources
 *   program          a path inside the checkout; its exit status is this one's (128 + the number of a signal that ended it)
 */
import { spawn, spawnSync } from 'node:child_process'
import {
  accessSync,
  constants,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs'
import { homedir, constants as systemConstants } from 'node:os'
import { delimiter, dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const modules = join(root, 'node_modules')
const engines = join(root, 'test', 'engines')
const unpacked = join(root, '.packages')
const nodeFolder = join(modules, `node-linux-${process.arch}`, 'bin')

/** What a Debian package is recognised by, where its program has another name, or where it has none. */
const programOf = {
  'acl': 'getfacl',
  'attr': 'getfattr',
  'borgbackup': 'borg',
  'e2fsprogs': 'mkfs.ext4',
  'fonts-wqy-zenhei': '/usr/share/fonts/truetype/wqy/wqy-zenhei.ttc',
  'fuse3': 'fusermount3',
  'libnbd-bin': 'nbdinfo',
  'mariadb-client-core': 'mariadb',
  'mariadb-server-core': 'mariadbd',
  'postgresql': 'pg_ctlcluster',
  'qemu-system-x86': 'qemu-system-x86_64',
  'qemu-utils': 'qemu-img',
  'xfsprogs': 'mkfs.xfs',
}

const request = parseArguments(process.argv.slice(2))
installNpmPackages()
if (request.engines) installEngines()
const notInstalled = installDebianPackages([...request.need, ...request.want])
tellMissing(notInstalled)
if (request.web) buildWeb()
const missing = [...notInstalled, ...unpackDebianPackages(request.unpack)]
if (request.program !== undefined) run(request.program, request.rest)

function parseArguments(given) {
  const end = given.includes('--') ? given.indexOf('--') : given.length
  const [program, ...rest] = given.slice(end + 1)
  const parsed = { need: [], want: [], unpack: [], engines: false, web: false, program, rest }
  const options = given.slice(0, end)
  while (options.length > 0) {
    const option = options.shift()
    if (option === '--engines') {
      parsed.engines = true
      continue
    }
    if (option === '--web') {
      parsed.web = true
      continue
    }
    const list = { '--need': parsed.need, '--want': parsed.want, '--unpack': parsed.unpack }[option]
    if (list === undefined || options.length === 0) stop(`setup does not understand "${option}"; see scripts/setup.mjs`)
    list.push(...options.shift().split(',').filter(Boolean))
  }
  return parsed
}

function installNpmPackages() {
  if (isInstalled(root) && existsSync(join(nodeFolder, 'node'))) return
  say('installing the npm packages of package-lock.json (the first time this takes a minute or so)')
  npmCi(root)
  if (!existsSync(join(nodeFolder, 'node'))) {
    stop(
      `there is no Node.js for ${process.platform} ${process.arch} among the npm packages; ` +
        'Tidemark runs on Linux on x64 and arm64 (with glibc). If this is one, npm could not fetch ' +
        `node-linux-${process.arch}: run "npm ci" to see why.`,
    )
  }
}

function installEngines() {
  if (!isInstalled(engines)) {
    say('installing the database servers of test/engines (the first time this takes a minute or so)')
    npmCi(engines)
  }
  const installed = join(engines, 'node_modules')
  if (!existsSync(installed)) return
  for (const name of readdirSync(installed)) linkLibraries(join(installed, name))
}

function buildWeb() {
  const built = spawnSync(join(nodeFolder, 'node'), [join(root, 'scripts', 'build-web.mjs'), '--if-older'], {
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  if (built.status !== 0) stop('the browser part could not be built; "npm run build" shows why')
}

/** An npm package cannot hold symbolic links, so a server's package lists the ones its libraries need. */
function linkLibraries(folder) {
  const list = join(folder, 'native', 'pg-symlinks.json')
  if (!existsSync(list)) return
  for (const { source, target } of JSON.parse(readFileSync(list, 'utf8'))) {
    const link = join(folder, target)
    if (lstatSync(link, { throwIfNoEntry: false })) continue
    symlinkSync(relative(dirname(link), join(folder, source)), link)
  }
}

function npmCi(folder) {
  const args = ['ci', '--ignore-scripts', '--include=dev', '--include=optional', '--no-audit', '--no-fund']
  if (!isWritable(homedir())) args.push('--cache', join(root, '.npm-cache'))
  // The folder of programs that is about to be replaced must not supply npm with its Node.js.
  const path = pathFolders().filter((entry) => !entry.startsWith(modules))
  const npm = spawnSync('npm', [...args, '--loglevel=error'], {
    cwd: folder,
    encoding: 'utf8',
    env: { ...process.env, PATH: path.join(delimiter) },
  })
  if (npm.status !== 0) stop(`npm ci failed in ${folder}:\n${npm.error?.message ?? npm.stdout + npm.stderr}`)
}

/** npm keeps in node_modules what it installed last, written at its very end: it must be what the lock asks for. */
function isInstalled(folder) {
  const record = join(folder, 'node_modules', '.package-lock.json')
  if (!existsSync(record)) return false
  const installed = JSON.parse(readFileSync(record, 'utf8')).packages
  const wanted = JSON.parse(readFileSync(join(folder, 'package-lock.json'), 'utf8')).packages
  return Object.entries(wanted).every(
    ([path, entry]) =>
      path === '' || installed[path]?.version === entry.version || (entry.optional && !isForThisMachine(entry)),
  )
}

/** An optional package that is for any machine may be one that only another machine's package needs. */
function isForThisMachine({ os, cpu, libc }) {
  if (os === undefined && cpu === undefined && libc === undefined) return false
  const allows = (list, value) => list === undefined || [list].flat().includes(value)
  return allows(os, process.platform) && allows(cpu, process.arch) && allows(libc, 'glibc')
}

/** Installs what it can of the packages that are not there, and returns the ones still missing. */
function installDebianPackages(packages) {
  const absent = packages.filter((name) => !isOnPath(name))
  if (absent.length === 0 || process.getuid?.() !== 0 || !isOnPath('apt-get')) return absent
  say(`installing Debian packages: ${absent.join(' ')}`)
  const apt = (...args) =>
    spawnSync('apt-get', ['-o', 'DPkg::Lock::Timeout=120', ...args], {
      encoding: 'utf8',
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    })
  const install = (names) => apt('install', '--yes', '--no-install-recommends', ...names)
  apt('update')
  if (install(absent).status === 0) return absent.filter((name) => !isOnPath(name))
  // One that this release of Debian does not have must not keep the others out.
  return absent.filter((name) => {
    const { status, stdout, stderr } = install([name])
    if (status !== 0) say(`apt-get could not install ${name}: ${lastLine(stderr) || lastLine(stdout)}`)
    return !isOnPath(name)
  })
}

/** Needs no root; returns the ones that could not be had. */
function unpackDebianPackages(packages) {
  const absent = packages.filter((name) => !existsSync(join(unpacked, name)))
  if (absent.length === 0) return []
  say(`unpacking Debian packages: ${absent.join(' ')}`)
  const isDebian = isOnPath('apt-get') && isOnPath('dpkg-deb')
  if (isDebian && process.getuid?.() === 0) spawnSync('apt-get', ['-o', 'DPkg::Lock::Timeout=120', 'update'])
  const left = absent.filter((name) => !isDebian || !unpack(name))
  if (left.length > 0) say(`could not be unpacked, what needs them is skipped: ${left.join(', ')}`)
  return left
}

function unpack(name) {
  const folder = join(unpacked, `${name}.new`)
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  try {
    const fetched = spawnSync('apt-get', ['download', versionOf(name)], { cwd: folder, encoding: 'utf8' })
    const file = readdirSync(folder).find((entry) => entry.endsWith('.deb'))
    if (fetched.status !== 0 || file === undefined) {
      say(`apt-get could not fetch ${name}: ${lastLine(fetched.stderr ?? '')}`)
      return false
    }
    if (spawnSync('dpkg-deb', ['-x', join(folder, file), join(folder, 'files')]).status !== 0) return false
    renameSync(join(folder, 'files'), join(unpacked, name))
    return true
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** linux-image-cloud-amd64 has no files, and depends on linux-image-VERSION-cloud-amd64, which has. */
function versionOf(name) {
  const { stdout } = spawnSync('apt-cache', ['depends', name], { encoding: 'utf8' })
  const [, first, last] = /^([^-]+-[^-]+)-(.+)$/.exec(name) ?? []
  const depends = [...(stdout ?? '').matchAll(/^ *Depends: (\S+)$/gm)].map(([, other]) => other)
  return depends.find((other) => other.startsWith(`${first}-`) && other.endsWith(`-${last}`)) ?? name
}

function tellMissing(names) {
  if (names.length === 0) return
  const needed = names.filter((name) => request.need.includes(name))
  const advice = `install with: apt-get install --no-install-recommends ${names.join(' ')}`
  if (needed.length > 0) stop(`these programs are needed and missing: ${needed.join(', ')}; ${advice}`)
  say(`missing, what needs them is skipped: ${names.join(', ')}; ${advice}`)
}

function run(program, rest) {
  const child = spawn(
    join(nodeFolder, 'node'),
    ['--disable-warning=ExperimentalWarning', resolve(root, program), ...rest],
    {
      stdio: 'inherit',
      env: {
        ...process.env,
        PATH: [nodeFolder, ...pathFolders()].join(delimiter),
        TIDEMARK_MISSING: missing.join(','),
      },
    },
  )
  const forward = (signal) => child.kill(signal)
  // A terminal sends its own signals to every process in the foreground, so there the child has them already.
  const fromTerminal = process.stdin.isTTY ? ['SIGINT', 'SIGQUIT'] : []
  for (const signal of ['SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGHUP', 'SIGUSR2']) {
    process.on(signal, fromTerminal.includes(signal) ? () => {} : forward)
  }
  child.on('error', (error) => stop(`cannot start ${program}: ${error.message}`))
  child.on('exit', (status, signal) => {
    process.exit(status ?? 128 + (systemConstants.signals[signal] ?? 0))
  })
}

function isOnPath(name) {
  const program = programOf[name] ?? name
  return [...pathFolders(), '/usr/sbin', '/sbin'].some((folder) => existsSync(resolve(folder, program)))
}

function pathFolders() {
  return (process.env.PATH ?? '').split(delimiter).filter(Boolean)
}

function isWritable(folder) {
  try {
    accessSync(folder, constants.W_OK)
    return true
  } catch {
    return false
  }
}

function lastLine(text) {
  return text.trim().split('\n').at(-1) ?? ''
}

function say(line) {
  console.error(`tidemark: ${line}`)
}

function stop(line) {
  say(line)
  process.exit(1)
}
