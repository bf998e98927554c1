import { parseAddress } from './option-values.ts'

export interface AttachedWhere {
  readonly name: string
  readonly socket: string
  readonly device: string
  /** `host:port` where it is served over TLS. */
  readonly listen: string | undefined
  /** The folder with what a client shows there. */
  readonly tls: string | undefined
}

/** The ways to use a volume, the better ones first, ready to be copied. */
export function describeWays({ name, socket, device, listen, tls }: AttachedWhere): string {
  const url = `nbd+unix:///${encodeURIComponent(name)}?socket=${socket}`
  const ways: [string, string][] = [
    [
      'a disk of a virtual machine, with qemu (requests wait while the server is away, and are sent again)',
      `-blockdev driver=nbd,node-name=${name},server.type=unix,server.path=${socket},export=${name},reconnect-delay=600 \\\n    -device virtio-blk-pci,drive=${name}`,
    ],
    [
      'the same with libvirt',
      `<disk type='network' device='disk'>
      <driver name='qemu' type='raw' discard='unmap'/>
      <source protocol='nbd' name='${name}'>
        <host transport='unix' socket='${socket}'/>
        <reconnect delay='600'/>
      </source>
      <target dev='vdb' bus='virtio'/>
    </disk>`,
    ],
    [
      'a mirror with a local disk (the database goes on without the volume server, and reads locally)',
      `modprobe nbd && tidemark volume attach ${name} ${device} --mirror
    mdadm --create /dev/md/${name} --level=1 --raid-devices=2 --bitmap=internal --metadata=1.0 LOCAL-DISK --write-mostly ${device}
    after the leg was lost: mdadm /dev/md/${name} --remove ${device} && mdadm /dev/md/${name} --re-add ${device}`,
    ],
    [
      'a block device of this machine, with the kernel (requests wait while the server is away, and are sent again)',
      `modprobe nbd && tidemark volume attach ${name} ${device}
    in /etc/fstab: ${device} /MOUNT/POINT ext4 noauto,nofail 0 0`,
    ],
    [
      'without nbd in the kernel, for trials: through FUSE',
      `mkdir -p /run/${name} && nbdfuse /run/${name}/disk '${url}' &
    losetup --direct-io=on -f --show /run/${name}/disk`,
    ],
  ]
  if (listen !== undefined && tls !== undefined) {
    const { host, port } = parseAddress(listen, '--listen')
    ways.push([
      `from another machine, over TLS, with the files of ${tls} copied there`,
      `-object tls-creds-x509,id=${name}-tls,dir=FOLDER,endpoint=client \\
    -blockdev driver=nbd,node-name=${name},server.type=inet,server.host=${host},server.port=${port},export=${name},tls-creds=${name}-tls`,
    ])
  }
  const told = ways.map(([what, how]) => `- ${what}:\n    ${how}\n`)
  return `${name} is served at ${url}\n\n${told.join('\n')}`
}
