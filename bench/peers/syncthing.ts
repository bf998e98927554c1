import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { run, Service, until } from '../command.ts'
import { freePort } from '../place.ts'
import type { Mirror } from './mirror.ts'

const folder = 'live'

/** Two instances on loopback; `delaySeconds` left out means the watcher's default of 10. */
export async function startSyncthing(
  place: string,
  source: string,
  target: string,
  delaySeconds?: number,
): Promise<Mirror> {
  const sender = await Instance.start(join(place, 'sender'))
  const receiver = await Instance.start(join(place, 'receiver'))
  await sender.share(source, 'sendonly', receiver, delaySeconds)
  await receiver.share(target, 'receiveonly', sender, delaySeconds)
  return {
    name: delaySeconds === undefined ? 'syncthing, delay as by default' : `syncthing, delay ${delaySeconds} s`,
    target,
    processes: [sender.service, receiver.service],
    async [Symbol.asyncDispose]() {
      await sender.service[Symbol.asyncDispose]()
      await receiver.service[Symbol.asyncDispose]()
    },
  }
}

class Instance {
  readonly service: Service
  readonly #device: string
  readonly #listen: string
  readonly #api: string

  private constructor(service: Service, device: string, listen: string, api: string) {
    this.service = service
    this.#device = device
    this.#listen = listen
    this.#api = api
  }

  /** Alone with its peer: no discovery, no relays, no reports. */
  static async start(home: string): Promise<Instance> {
    mkdirSync(home, { recursive: true })
    await run(['syncthing', 'generate', '--no-default-folder', `--home=${home}`])
    const listen = `tcp://127.0.0.1:${await freePort()}`
    const api = `127.0.0.1:${await freePort()}`
    const file = join(home, 'config.xml')
    const configuration = readFileSync(file, 'utf8')
    const device = /<device id="([^"]+)"/.exec(configuration)?.[1]
    if (device === undefined) throw new Error(`syncthing wrote no device into ${file}`)
    writeFileSync(file, alone(configuration, listen))
    const service = new Service([
      'syncthing',
      `--home=${home}`,
      '--no-browser',
      '--no-restart',
      '--no-upgrade',
      `--gui-address=${api}`,
      `--gui-apikey=${key}`,
    ])
    const instance = new Instance(service, device, listen, `http://${api}/rest`)
    await until('syncthing', () => instance.#answers())
    return instance
  }

  async share(
    path: string,
    type: 'sendonly' | 'receiveonly',
    peer: Instance,
    delaySeconds: number | undefined,
  ): Promise<void> {
    mkdirSync(path, { recursive: true })
    await this.#put(`config/devices/${peer.#device}`, {
      deviceID: peer.#device,
      name: 'peer',
      addresses: [peer.#listen],
    })
    await this.#put(`config/folders/${folder}`, {
      id: folder,
      path,
      type,
      fsWatcherEnabled: true,
      ...(delaySeconds === undefined ? {} : { fsWatcherDelayS: delaySeconds }),
      devices: [{ deviceID: this.#device }, { deviceID: peer.#device }],
    })
  }

  async #answers(): Promise<boolean> {
    this.service.assertRunning()
    try {
      return (await fetch(`${this.#api}/system/ping`, { headers: { 'X-API-Key': key } })).ok
    } catch (error) {
      // Nothing listens there yet.
      if (error instanceof TypeError) return false
      throw error
    }
  }

  async #put(path: string, body: unknown): Promise<void> {
    const response = await fetch(`${this.#api}/${path}`, {
      method: 'PUT',
      headers: { 'X-API-Key': key },
      body: JSON.stringify(body),
    })
    if (!response.ok) throw new Error(`syncthing: ${path}: ${response.status} ${await response.text()}`)
  }
}

const key = 'only-for-measuring'

function alone(configuration: string, listen: string): string {
  const set = (text: string, name: string, value: string): string =>
    text.replaceAll(new RegExp(`<${name}>[^<]*</${name}>`, 'g'), `<${name}>${value}</${name}>`)
  return Object.entries({
    listenAddress: listen,
    globalAnnounceEnabled: 'false',
    localAnnounceEnabled: 'false',
    relaysEnabled: 'false',
    natEnabled: 'false',
    crashReportingEnabled: 'false',
    urAccepted: '-1',
    startBrowser: 'false',
    autoUpgradeIntervalH: '0',
  }).reduce((text, [name, value]) => set(text, name, value), configuration)
}
