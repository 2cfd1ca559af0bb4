/** Ways out by the engine and the kernel: no capability, few system calls, a root that is read-only. */
import { probe, rooms, type Way, type World } from './way.ts';

const way = (tries: string, sees: RegExp, script: string | ((world: World) => string)): Way => ({
  family: 'engine',
  from: 'isolated',
  tries,
  sees,
  run: (world) => world.inside(rooms.isolated, typeof script === 'string' ? script : script(world)),
});

const control = (...words: Parameters<typeof way>): Way => ({ ...way(...words), isControl: true });

/** By number on this processor: x86-64, and arm64. */
const numbers = {
  getpid: [39, 172],
  mount: [165, 40],
  umount2: [166, 39],
  pivot_root: [155, 41],
  chroot: [161, 51],
  fsopen: [430, 430],
  open_tree: [428, 428],
  unshare: [272, 97],
  clone: [56, 220],
  clone3: [435, 435],
  setns: [308, 268],
  ptrace: [101, 117],
  process_vm_readv: [310, 270],
  bpf: [321, 280],
  perf_event_open: [298, 241],
  userfaultfd: [323, 282],
  io_uring_setup: [425, 425],
  keyctl: [250, 219],
  add_key: [248, 217],
  open_by_handle_at: [304, 265],
  kexec_load: [246, 104],
  init_module: [175, 105],
  reboot: [169, 142],
  swapon: [167, 224],
  sethostname: [170, 161],
  settimeofday: [164, 170],
  syslog: [103, 116],
  capset: [126, 91],
  setuid: [105, 146],
  setgroups: [116, 159],
  prctl: [157, 167],
  prlimit64: [302, 261],
  sched_setscheduler: [144, 119],
  quotactl: [179, 60],
  quotactl_fd: [443, 443],
  file_setattr: [469, 469],
} as const;

/** The name of its error, or what it gave. */
function call(name: keyof typeof numbers, ...args: readonly (number | string)[]): string {
  const number = numbers[name][process.arch === 'arm64' ? 1 : 0];
  return counted(number, ...args);
}

const counted = (number: number, ...args: readonly (number | string)[]): string =>
  `perl -MErrno -e 'my @a = (${args.join(', ')}); $r = syscall(${number}, @a); ` +
  `print $r == -1 ? "refused " . (grep { $!{$_} } keys %!)[0] : "done $r"'`;

const filtered = /^refused EPERM$/;
const SYS_ADMIN = 21;
const NEWUSER = 0x10000000;
const NEWNS = 0x00020000;

const namespaces: readonly Way[] = [
  control('a system call that is allowed', /^done [1-9]/, call('getpid')),
  way('a file system mounted', filtered, call('mount', '"none"', '"/tmp"', '"tmpfs"', 0, 0)),
  way('its root mounted anew to be written', filtered, call('mount', '"none"', '"/"', '""', 32, 0)),
  way('a file system mounted the newer way', filtered, call('fsopen', '"tmpfs"', 0)),
  way('a tree of files copied as a mount', filtered, call('open_tree', -100, '"/"', 1)),
  way('what hides parts of /proc unmounted', filtered, call('umount2', '"/proc/kcore"', 2)),
  way('another root', filtered, call('chroot', '"/tmp"')),
  way('its root exchanged', filtered, call('pivot_root', '"/tmp"', '"/tmp"')),
  way('a user namespace', filtered, call('unshare', NEWUSER)),
  way('a mount namespace', filtered, call('unshare', NEWNS)),
  way('a process in a user namespace', filtered, call('clone', NEWUSER | 17, 0, 0, 0, 0)),
  way('the same by the newer call', /^refused ENOSYS$/, call('clone3', '"x" x 88', 88)),
  way('the namespace of another process', filtered, call('setns', 0, 0)),
];

const kernel: readonly Way[] = [
  way('another process traced', filtered, call('ptrace', 16, 1, 0, 0)),
  way('the memory of another process', filtered, call('process_vm_readv', 1, 0, 0, 0, 0, 0)),
  way('a program in the kernel', filtered, call('bpf', 0, '"x" x 128', 128)),
  way('what the processor counts', filtered, call('perf_event_open', '"x" x 128', 0, -1, -1, 0)),
  way('page faults handled by itself', filtered, call('userfaultfd', 0)),
  way('a ring for system calls', filtered, call('io_uring_setup', 1, '"x" x 200')),
  way('the keys of the kernel, read', filtered, call('keyctl', 0, -3, 0)),
  way('a key of the kernel, made', filtered, call('add_key', '"user"', '"a"', '"b"', 1, -3)),
  way('a file by its number on the disk', filtered, call('open_by_handle_at', -100, '"x" x 128', 0)),
  way('another kernel', filtered, call('kexec_load', 0, 0, 0, 0)),
  way('a module of the kernel', filtered, call('init_module', '"x"', 1, '""')),
  way('the machine restarted', filtered, call('reboot', 0xfee1dead, 672274793, 0x1234567)),
  way('a place to swap to', filtered, call('swapon', '"/tmp/x"', 0)),
  way('another name of the host', filtered, call('sethostname', '"x"', 1)),
  way('another time', filtered, call('settimeofday', '"x" x 16', 0)),
  way('the messages of the kernel', filtered, call('syslog', 3, '"x" x 64', 64)),
  way(
    'a system call by its other numbers',
    /^refused (EPERM|ENOSYS)$|^Bad system call/,
    `${counted(0x40000000 + 165, '"none"', '"/tmp"', '"tmpfs"', 0, 0)} || echo "Bad system call"`,
  ),
];

/** Of a file of its own, in its home. */
const onFile = (request: number): string =>
  'touch ~/of-a-project; ' +
  `perl -MErrno -e 'open(my $f, "<", "$ENV{HOME}/of-a-project") or die $!; my $a = "\\0" x 64; ` +
  `print ioctl($f, ${request}, $a) ? "done" : "refused " . (grep { $!{$_} } keys %!)[0]'`;

const projects: readonly Way[] = [
  // Some file systems have no flags; then that is what they say, and not the filter.
  control(
    'the flags of its own file, read',
    /^(done|refused (ENOTTY|EOPNOTSUPP|ENOTSUP))$/,
    onFile(0x80086601),
  ),
  way('its own file put into another project', filtered, onFile(0x401c5820)),
  way('the same, with more bits than the kernel looks at', filtered, onFile(0x1_401c_5820)),
  way('its own directory taken out of its project by flags', filtered, onFile(0x40086602)),
  way('the same, by the flags of 32 bits', filtered, onFile(0x40046602)),
  way('a limit of the disk', filtered, call('quotactl', 0x800002, '"/dev/vda"', 10001, '"x" x 72')),
  way('the same, by a file', filtered, call('quotactl_fd', 0, 0x80000802, 10001, '"x" x 72')),
  way(
    'the same flags and project, by the newest call',
    /^refused (EPERM|ENOSYS)$/,
    call('file_setattr', -100, '"x"', '"x" x 24', 24, 0),
  ),
];

const fewer = 'cannot modify limit: Operation not permitted';
const cgroupFile = (v1: string, v2: string, value: string) =>
  `f=$(ls -d /sys/fs/cgroup/${v1} /sys/fs/cgroup/${v2} 2>/dev/null | head -1); [ -n "$f" ] && echo ${value} > "$f" && echo done`;
const closed = /(Read-only file system|Permission denied)$/;

const rights: readonly Way[] = [
  way('the user root', filtered, call('setuid', 0)),
  way('the groups of root', filtered, call('setgroups', 1, 'pack("L", 0)')),
  way(
    'a capability',
    filtered,
    call(
      'capset',
      'pack("LL", 0x20080522, 0)',
      `pack("L6", ${1 << SYS_ADMIN}, ${1 << SYS_ADMIN}, 0, 0, 0, 0)`,
    ),
  ),
  way('that no program gives it more, taken back', /^refused EINVAL$/, call('prctl', 38, 0, 0, 0, 0)),
  way(
    'every program that runs as its owner',
    /^(\d+) tried, none is root$/,
    'n=0; for f in $(find / -xdev -perm /6000 -type f 2>/dev/null); do n=$((n+1)); ' +
      'echo "id -u" | timeout 5 "$f" 2>/dev/null | grep -qx 0 && echo "$f is root"; ' +
      'timeout 5 "$f" -c "id -u" </dev/null 2>/dev/null | grep -qx 0 && echo "$f is root"; done; echo "$n tried, none is root"',
  ),
  way(
    'a device of the memory',
    filtered,
    'mknod /tmp/mem c 1 1 2>&1 | grep -q "not permitted" && printf "refused EPERM"',
  ),
  way('a disk', filtered, 'mknod /tmp/disk b 254 0 2>&1 | grep -q "not permitted" && printf "refused EPERM"'),
  way('more open files', new RegExp(`${fewer}$`), 'ulimit -Hn $(( $(ulimit -Hn) + 1 ))'),
  way('core files', new RegExp(`${fewer}$`), 'ulimit -Hc unlimited'),
  way('the limits of its first process', filtered, call('prlimit64', 1, 4, 'pack("QQ", -1, -1)', 0)),
  way(
    'to be the last whom a lack of memory ends',
    /Permission denied$/,
    'echo -1000 > /proc/self/oom_score_adj',
  ),
  way('to go before everybody', filtered, call('sched_setscheduler', 0, 1, 'pack("L", 50)')),
  control(
    'its own limits, read',
    /^[1-9]\d*$/,
    'cat /sys/fs/cgroup/pids/pids.max 2>/dev/null || cat /sys/fs/cgroup/pids.max',
  ),
  way('more processes', closed, cgroupFile('pids/pids.max', 'pids.max', 'max')),
  way('more memory', closed, cgroupFile('memory/memory.limit_in_bytes', 'memory.max', '9000000000')),
  way('more of the processor', closed, cgroupFile('cpu/cpu.cfs_quota_us', 'cpu.max', '-1')),
  way(
    'a control group of its own',
    /^mkdir: .*(Read-only file system|Permission denied)$/,
    'mkdir "$(dirname "$(find /sys/fs/cgroup -name cgroup.procs | head -1)")/x"',
  ),
  way(
    'a program for the host, by a control group',
    closed,
    'f=$(find /sys/fs/cgroup -name cgroup.procs | head -1); echo /tmp/x > "$(dirname "$f")/release_agent"',
  ),
];

const host: readonly Way[] = [
  way('the engine’s socket, where it is', /^refused ENOENT$/, probe('unix', '/var/run/docker.sock')),
  way('the engine’s socket, where it is in this test', /^refused ENOENT$/, ({ engineSocket }) =>
    probe('unix', engineSocket),
  ),
  way(
    'the first process’s root',
    /No such file or directory$/,
    ({ dataDir }) => `cat /proc/1/root${dataDir}/server.json`,
  ),
  way(
    'the server’s process',
    /^none of ours$/,
    ({ dataDir }) =>
      `cat /proc/[0-9]*/cmdline 2>/dev/null | tr "\\0" "\\n" | grep "src/mai[n].ts" || ls /proc/*/root${dataDir}/secrets 2>/dev/null || echo none of ours`,
  ),
  way('where core files go', closed, 'echo "|/tmp/x" > /proc/sys/kernel/core_pattern'),
  way('that packets are passed on', closed, 'echo 1 > /proc/sys/net/ipv4/ip_forward'),
  way(
    'a trigger of the kernel',
    /(Read-only file system|Permission denied|No such file or directory)$/,
    'echo b > /proc/sysrq-trigger',
  ),
  way('a program that the kernel runs', closed, 'echo /tmp/x > /sys/kernel/uevent_helper'),
  way(
    'the memory of the machine',
    /^0 bytes$/,
    'echo "$(cat /proc/kcore /dev/mem /dev/kmem /dev/port 2>/dev/null | head -c 9 | wc -c) bytes"',
  ),
  way('a disk of the machine', /^none$/, 'ls /dev | grep -E "^(sd|vd|nvme|xvd|dm-|loop)" || echo none'),
];

export const engineWays: readonly Way[] = [...namespaces, ...kernel, ...projects, ...rights, ...host];
