import type { Texts } from '../en.ts'

const elsewhere = '请选择空目录，或尚不存在的目录。'

export const preflight: Texts['preflight'] = {
  'agent-connected': { is: ({ agent }) => `主站 ${agent} 在线。` },
  'agent-away': {
    is: ({ agent }) => `主站 ${agent} 未连接。`,
    next: '请启动该主站或恢复线路；连接后再检查该服务器上的各项。',
  },
  'point-there': { is: ({ sources }) => `${sources} 有可用的恢复点。` },
  'point-unreachable': {
    is: ({ error }) => `此处没有可用的恢复点：${error}`,
    next: '请在时间轴上另选一个时刻。',
  },
  'point-damaged': {
    is: ({ error }) => `此处的日志已损坏：${error}`,
    next: '请选择更早的时刻，并校验该保护对象。',
  },
  'target-free': { is: ({ path }) => `${path} 为空或尚不存在，不会覆盖任何内容。` },
  'target-filled': {
    is: ({ path, name, more }) => `${path} 非空：其中有“${name}”${more === '0' ? '' : `等 ${Number(more) + 1} 项`}。`,
    next: elsewhere,
  },
  'target-begun': { is: ({ path }) => `${path} 中有一次未完成的恢复。`, next: elsewhere },
  'target-begun-other': {
    is: ({ path, source, moment }) => `${path} 中有一次未完成的恢复：${source}，${moment}。`,
    next: '请在“任务”页面继续该任务，或选择其他位置。',
  },
  'target-not-directory': { is: ({ path }) => `${path} 不是目录。`, next: elsewhere },
  'target-collides': {
    is: ({ path, folder }) => `${path} 位于 ${folder} 之内：数据目录与表空间不能重叠。`,
    next: '请选择其他目录。',
  },
  'original-free': { is: () => '原位置目前没有内容。' },
  'original-replaced': {
    is: ({ paths }) => `${paths} 的现有内容将被替换。`,
    next: '现有内容保留在原处旁边，名称后加“.before-”与日志序号，由您自行清理。',
  },
  'image-free': { is: ({ path }) => `${path} 处不会覆盖任何内容。` },
  'image-filled': { is: ({ path }) => `${path} 已有内容。`, next: '请填写一个新文件的名称。' },
  'image-not-possible': {
    is: ({ path }) => `${path} 既不是文件，也不是块设备。`,
    next: '请填写一个新文件的名称，或选择一个设备。',
  },
  'device-small': {
    is: ({ path, neededBytes, deviceBytes }) => `该卷为 ${neededBytes}，而 ${path} 只有 ${deviceBytes}。`,
    next: '请选择更大的设备，或改为文件。',
  },
  'device-in-use': { is: ({ path }) => `${path} 已挂载或正在使用。`, next: '请先卸载，或选择其他目标。' },
  'device-closed': {
    is: ({ path, error }) => `无法写入 ${path}：${error}`,
    next: '请以有写入权限的用户运行主站程序。',
  },
  'room-enough': { is: ({ neededBytes, freeBytes }) => `需要 ${neededBytes}，可用 ${freeBytes}。` },
  'room-short': {
    is: ({ path, neededBytes, freeBytes }) => `需要 ${neededBytes}，而 ${path} 只有 ${freeBytes} 可用。`,
    next: '请腾出空间、选择其他位置，或只恢复部分路径。',
  },
  'entries-short': {
    is: ({ path, needed, free }) => `需要 ${needed} 个 inode，而 ${path} 所在文件系统只剩 ${free} 个。`,
    next: '请选择 inode 更充裕的文件系统。',
  },
  'image-room-enough': { is: ({ neededBytes, freeBytes }) => `最多需要 ${neededBytes}，可用 ${freeBytes}。` },
  'image-room-short': {
    is: ({ neededBytes, freeBytes }) => `最多需要 ${neededBytes}，只有 ${freeBytes} 可用。`,
    next: '若卷中有足够多的零数据则可以容纳；建议先腾出空间。',
  },
  'writing-open': { is: ({ path }) => `主站可以写入 ${path}。` },
  'writing-without-owners': {
    is: () => '主站程序未以 root 运行：属主以及仅 root 可设置的属性不会恢复。',
    next: '若需恢复这些属性，请以 root 运行主站程序。',
  },
  'writing-closed': {
    is: ({ path, error }) => `主站无权写入 ${path}：${error}`,
    next: '请选择其他位置，或以有权限的用户运行主站程序。',
  },
  'way-open': { is: () => '数据库的运行用户可以进入该目录。' },
  'way-closed': {
    is: ({ user, path }) => `数据库以用户 ${user} 运行，该用户无权进入 ${path}。`,
    next: '请选择该用户可以进入的目录。',
  },
  'server-user-missing': {
    is: ({ user }) => `没有可用于运行数据库的用户 ${user}。`,
    next: '请在该服务器上创建此用户。',
  },
  'version-there': { is: ({ major }) => `该服务器已安装 PostgreSQL ${major}。` },
  'version-missing': {
    is: ({ major }) => `该服务器上未找到 PostgreSQL ${major}。`,
    next: '请在该服务器上安装；未安装时可以恢复数据，但不能启动数据库。',
  },
  'port-none': { is: () => '恢复出的数据库不监听网络端口，不会产生端口冲突。' },
  'duration-known': {
    is: ({ durationMs, bytes, bytesPerSecond }) => `约 ${durationMs}（${bytes}，按刚测得的 ${bytesPerSecond} 计算）。`,
  },
  'duration-unknown': { is: () => '无法预计用时：可读取的数据太少，不足以测速。' },
  'refused': { is: ({ error }) => `不可行：${error}` },
}
