/**
 * What an instance in a container cannot do. Every probe runs inside, as the user inside, and must fail
 * there; each has beside it what shows that the probe itself would work where it is allowed.
 */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { mkdirSync, writeFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import type { Handle } from '../../src/runtime.ts';
import { docker, type Ground, inside, openGround, running } from './ground.ts';

let ground: Ground;
let cell: Handle;
let listener: Bun.TCPSocketListener<undefined>;
beforeAll(async () => {
  ground = openGround();
  listener = Bun.listen<undefined>({
    hostname: '0.0.0.0',
    port: 0,
    socket: { open: (socket) => void socket.end('hello\n'), data() {} },
  });
  mkdirSync(join(ground.dataDir, 'instances', 'other'), { recursive: true });
  writeFileSync(join(ground.dataDir, 'instances', 'other', 'secret'), 'not yours', { mode: 0o644 });
  cell = await running(ground, 'cell');
}, 60_000);
afterAll(async () => {
  listener?.stop(true);
  await ground?.close();
}, 60_000);

/** Addresses of this very host that are not its loopback. */
const hostAddresses = (): string[] =>
  Object.values(networkInterfaces()).flatMap((some) =>
    (some ?? []).flatMap(({ address, family }) =>
      family === 'IPv4' && address !== '127.0.0.1' ? [address] : [],
    ),
  );

const dial = (address: string, port: number) =>
  `timeout 5 bash -c 'exec 3<>/dev/tcp/${address}/${port} && head -c 5 <&3'`;
/** A system call by its number on this processor, by perl, which git brings along. */
const numbers = {
  x64: {
    ptrace: 101,
    mount: 165,
    unshare: 272,
    setns: 308,
    bpf: 321,
    io_uring_setup: 425,
    keyctl: 250,
    socket: 41,
    mknod: 133,
  },
  arm64: {
    ptrace: 117,
    mount: 40,
    unshare: 97,
    setns: 268,
    bpf: 280,
    io_uring_setup: 425,
    keyctl: 219,
    socket: 198,
    mknod: 33,
  },
}[process.arch === 'arm64' ? 'arm64' : 'x64'];
const call = (name: keyof typeof numbers, ...args: (number | string)[]) =>
  `perl -e 'exit(syscall(${[numbers[name], ...args].join(', ')}) == -1 ? 1 : 0)'`;

const refused = async (what: Readonly<Record<string, string>>): Promise<void> => {
  const passed: string[] = [];
  for (const [name, script] of Object.entries(what)) {
    const ran = await inside(cell, script);
    if (ran.code === 0) passed.push(`${name}: ${ran.output.slice(0, 200)}`);
  }
  expect(passed).toEqual([]);
};

describe('an isolated instance', () => {
  test('[R21] reaches no address, not even this host, no name, and no metadata', async () => {
    const { port } = listener;
    expect(hostAddresses()).not.toEqual([]);
    await refused({
      ...Object.fromEntries(hostAddresses().map((one) => [one, dial(one, port)])),
      'its own loopback': dial('127.0.0.1', port),
      metadata: dial('169.254.169.254', 80),
      'a name': 'getent hosts example.org',
      'a name server': dial('192.0.2.53', 53),
      'an interface': 'tail -n +3 /proc/net/dev | grep -v "^ *lo:"',
      'a route': 'tail -n +2 /proc/net/route | grep .',
    });
  }, 60_000);

  test('[R21] what an instance with the full network reaches, it could have reached', async () => {
    const free = await running(ground, 'free', { network: { mode: 'full' } });
    const ran = await inside(free, dial(hostAddresses()[0] ?? '', listener.port));
    expect(ran).toEqual({ code: 0, output: 'hello' });
    // The bridge of the other one has an address of this host, too.
    await refused(Object.fromEntries(hostAddresses().map((one) => [one, dial(one, listener.port)])));
    const { NetworkSettings: settings } = await docker.getContainer(String(free['container'])).inspect();
    const [network = ''] = Object.keys(settings.Networks);
    expect(Object.keys((await docker.getNetwork(network).inspect()).Containers ?? {})).toHaveLength(1);
    await ground.runtime.destroy(free);
    expect((await docker.listNetworks()).map(({ Name }) => Name)).not.toContain(network);
  }, 60_000);

  test('[R22] has no capability, gains none, and is filtered', async () => {
    const { output } = await inside(
      cell,
      'id -u; grep -E "^(Cap(Eff|Prm|Bnd|Amb)|NoNewPrivs|Seccomp):" /proc/self/status',
    );
    expect(output.split('\n').map((line) => line.replace(/\s+/g, ' '))).toEqual([
      '10001',
      ...['CapPrm', 'CapEff', 'CapBnd', 'CapAmb'].map((name) => `${name}: 0000000000000000`),
      'NoNewPrivs: 1',
      'Seccomp: 2',
    ]);
    await refused({
      root: 'find / -xdev -perm -4000 -type f 2>/dev/null | while read f; do "$f" -c id -u 2>/dev/null; done | grep -x 0',
      mount: 'mount -t tmpfs none /mnt',
      'mount by number': call('mount', '"none"', '"/mnt"', '"tmpfs"', 0, 0),
      'a namespace': call('unshare', 0x10000000),
      'the namespace of another': call('setns', 0, 0),
      ptrace: call('ptrace', 16, 1, 0, 0),
      'ptrace of itself': call('ptrace', 0, 0, 0, 0),
      bpf: call('bpf', 0, 0, 0),
      io_uring: call('io_uring_setup', 1, '"x" x 200'),
      'a key': call('keyctl', 0, -3, 0),
      'a socket to the hypervisor': call('socket', 40, 1, 0),
      'a raw packet': call('socket', 17, 3, 0),
      'a device': 'mknod /tmp/null c 1 3',
      'a disk': 'mknod /tmp/disk b 254 0',
      'more files': 'ulimit -Hn $(( $(ulimit -Hn) + 1 ))',
      'a core': 'ulimit -Hc unlimited',
      'a nicer place': 'nice -n -5 true 2>&1 | grep -q . && exit 1; nice -n -5 true',
    });
    // The probe works: what is allowed does.
    expect((await inside(cell, call('socket', 1, 1, 0))).code).toBe(0);
  }, 60_000);

  test('[R23] writes nowhere but to its own places', async () => {
    await refused({
      'the root': 'touch /x',
      'a program': 'touch /usr/bin/x /usr/local/bin/agent-client',
      'a configuration': 'echo x >> /etc/passwd',
      'the kernel': 'echo 1 > /proc/sys/net/ipv4/ip_forward',
      'a core pattern': 'echo x > /proc/sys/kernel/core_pattern',
      'a trigger': 'echo b > /proc/sysrq-trigger',
      'a device of the kernel': 'echo 1 > /sys/kernel/uevent_helper',
      'its control group':
        'f=$(find /sys/fs/cgroup -name pids.max | head -1); [ -n "$f" ] && echo max > "$f"',
      'another control group': 'mkdir /sys/fs/cgroup/pids/x || mkdir /sys/fs/cgroup/x',
      'its secret': 'echo x > /opt/agentic/credentials/secret',
      'its socket': 'rm -rf /opt/agentic/socket/* && touch /opt/agentic/socket/x',
      'what it was not lent': `touch ${join(ground.dataDir, 'agentshare', 'tasks', 'x')}`,
      'a program in /run': 'cp /bin/true /run/x && /run/x',
    });
    const own =
      'for d in ~ /srv/work /opt/agentic/spool /opt/agentic/identity /tmp /var/tmp /dev/shm; do touch $d/x || exit 1; done';
    expect(await inside(cell, own)).toEqual({ code: 0, output: '' });
  }, 60_000);

  test('[R23] sees nothing of this host or of another instance', async () => {
    await refused({
      'the engine': 'ls /var/run/docker.sock /run/docker.sock /run/podman',
      'another secret': `cat ${join(ground.dataDir, 'instances', 'other', 'secret')}`,
      'the journal': `ls ${join(ground.dataDir, 'instances')}`,
      'a process outside': `[ -e /proc/${process.pid} ] && grep -q bun /proc/${process.pid}/cmdline`,
      memory: 'head -c 1 /proc/kcore || head -c 1 /dev/mem',
      'a disk': 'ls /dev/vda /dev/sda /dev/nvme0n1 2>/dev/null | grep .',
      'the first process of this host': 'ls /proc/1/root/var/lib/docker',
      'a file of this host': `cat ${join(import.meta.dir, 'walls.test.ts')}`,
      'messages of the kernel': 'dmesg',
    });
  }, 60_000);

  test('[R24] its secret is in a file, and nowhere that an engine or a process list shows', async () => {
    const { output: secret } = await inside(cell, 'cat /opt/agentic/credentials/secret');
    expect(secret).toMatch(/^[\w-]{43}$/);
    const facts = JSON.stringify(await docker.getContainer(String(cell['container'])).inspect());
    expect(facts).not.toContain(secret);
    const { output } = await inside(
      cell,
      'cat /proc/*/environ /proc/*/cmdline 2>/dev/null | tr "\\0" "\\n"; env',
    );
    expect(output).toContain('AGENT_ENV_FILE=/opt/agentic/credentials/agent.env');
    expect(output).not.toContain(secret);
  }, 60_000);
});

test('[R25] only places of the instance itself are mounted, and none of them is a socket of the engine', async () => {
  const { Mounts: mounts, HostConfig: host } = await docker.getContainer(String(cell['container'])).inspect();
  const secrets = await ground.secretsDir('cell');
  const own = [join(ground.dataDir, 'instances', 'cell'), join(ground.dataDir, 's')];
  const foreign = mounts.filter(
    ({ Type, Source = '' }) =>
      Type === 'bind' && Source !== secrets && !own.some((at) => Source.startsWith(`${at}/`)),
  );
  expect(foreign).toEqual([]);
  expect(
    mounts
      .filter(({ Type }) => Type === 'bind')
      .map(({ Destination, RW }) => [Destination, RW])
      .sort(),
  ).toEqual([
    ['/home/agent', true],
    ['/opt/agentic/credentials', false],
    ['/opt/agentic/identity', true],
    ['/opt/agentic/models', false],
    ['/opt/agentic/secrets', false],
    ['/opt/agentic/socket', false],
    ['/opt/agentic/spool', true],
    ['/srv/work', true],
    [join(ground.dataDir, 'agentshare', 'tasks'), true],
  ]);
  expect(host).toMatchObject({ Privileged: false, ReadonlyRootfs: true, NetworkMode: 'none' });
  expect(host.CapAdd ?? []).toEqual([]);
  expect(host.SecurityOpt?.[0]).toBe('no-new-privileges:true');
}, 60_000);
