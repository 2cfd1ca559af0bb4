/** Layers, archives and what is told of them, from small directories: no package is fetched. */
import { afterEach, beforeEach, expect, test } from 'bun:test';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { writeArchive } from '../../images/archive.ts';
import { packDifference, packDirectory, unpack } from '../../images/layer.ts';
import { packagesOf, recipeNamed, recipes } from '../../images/recipes.ts';
import { npmComponents, spdx } from '../../images/sbom.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'layer-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const at = (...parts: string[]) => join(dir, ...parts);
function put(root: string, files: Readonly<Record<string, string>>): void {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(at(root, name)), { recursive: true });
    writeFileSync(at(root, name), text);
  }
}
const sum = (path: string) => createHash('sha256').update(readFileSync(path)).digest('hex');

test('[M1] the same files give the same layer, whenever and in whatever order they were written', async () => {
  put('a', { 'etc/one': '1', 'usr/bin/two': '2' });
  put('b', { 'usr/bin/two': '2', 'etc/one': '1' });
  for (const root of ['a', 'b']) symlinkSync('one', at(root, 'etc/link'));
  const later = new Date(Date.UTC(2031, 0, 1));
  utimesSync(at('b', 'etc/one'), later, later);
  await packDirectory(at('a'), at('a.tar'));
  await packDirectory(at('b'), at('b.tar'));
  expect(sum(at('a.tar'))).toBe(sum(at('b.tar')));
  chmodSync(at('b', 'usr/bin/two'), 0o755);
  await packDirectory(at('b'), at('b.tar'));
  expect(sum(at('a.tar'))).not.toBe(sum(at('b.tar')));
});

test('[M1] a layer holds only what is new or another, and hides what is gone', async () => {
  put('below', { 'etc/kept': 'k', 'etc/changed': 'old', 'etc/gone': 'g', 'var/lib/dir/deep': 'd' });
  put('above', { 'etc/kept': 'k', 'etc/changed': 'new', 'opt/new': 'n', 'var/lib/x': 'x' });
  await packDirectory(at('below'), at('below.tar'));
  await packDifference(at('above'), at('below'), at('above.tar'));
  const names = Bun.spawnSync(['tar', '-tf', at('above.tar')]).stdout.toString();
  expect(names).not.toContain('etc/kept');
  await unpack([at('below.tar'), at('above.tar')], at('whole'));
  expect(readFileSync(at('whole/etc/changed'), 'utf8')).toBe('new');
  expect(readFileSync(at('whole/opt/new'), 'utf8')).toBe('n');
  for (const gone of ['etc/gone', 'var/lib/dir', 'etc/.wh.gone'])
    expect(existsSync(at('whole', gone))).toBe(false);
});

test('[M2] the id of an image is the sum of its configuration, which names the sum of every layer', async () => {
  put('a', { file: 'x' });
  await packDirectory(at('a'), at('a.tar'));
  const digest = `sha256:${sum(at('a.tar'))}`;
  const facts = {
    tag: 't:latest',
    architecture: 'amd64',
    layers: [{ digest, path: at('a.tar'), madeBy: 'test' }],
  };
  const id = await writeArchive(at('one'), { ...facts, labels: { b: '2', a: '1' } });
  expect(await writeArchive(at('two'), { ...facts, labels: { a: '1', b: '2' } })).toBe(id);
  expect(sum(at('one'))).toBe(sum(at('two')));
  mkdirSync(at('out'));
  expect(Bun.spawnSync(['tar', '-xf', at('one'), '-C', at('out')]).exitCode).toBe(0);
  const config = readFileSync(at('out', `${id.slice(7)}.json`));
  expect(`sha256:${createHash('sha256').update(config).digest('hex')}`).toBe(id);
  const told = JSON.parse(config.toString());
  expect(told.rootfs.diff_ids).toEqual([digest]);
  expect(told.config.User).toBe('10001:10001');
  expect(sum(at('out', `${digest.slice(7)}.tar`))).toBe(digest.slice(7));
});

test('[M3] every npm package is pinned to one version, with a sum, and is in the SBOM as it was installed', () => {
  for (const { npm } of recipes) {
    if (npm === null) continue;
    const home = join(import.meta.dir, '../../images/npm', npm.name);
    const { dependencies } = JSON.parse(readFileSync(join(home, 'package.json'), 'utf8'));
    expect(Object.values(dependencies).filter((version) => !/^\d+\.\d+\.\d+$/.test(String(version)))).toEqual(
      [],
    );
    const lock = readFileSync(join(home, 'bun.lock'), 'utf8');
    const [program] = npm.program.x64.split(/(?<=^@[^/]+\/[^/]+)\/|(?<=^[^@/][^/]*)\//);
    const components = npmComponents(lock, new Set([...Object.keys(dependencies), program ?? '']));
    expect(components.length).toBeGreaterThan(1);
    for (const one of components) expect(one.integrity).toMatch(/^sha512-/);
    const document = JSON.stringify(spdx(npm.name, 'sha256:1', components));
    for (const { name, version } of components)
      expect(document).toContain(`pkg:npm/${name.replace('@', '%40')}@${version}`);
  }
});

test('[M3] an image has what the images below it have', () => {
  expect(packagesOf(recipeNamed('claude'))).toEqual(packagesOf(recipeNamed('node')));
  for (const name of packagesOf(recipeNamed('base'))) expect(packagesOf(recipeNamed('dev'))).toContain(name);
});

test('[R22] the seccomp profile allows only what it names, and nothing that reaches beyond the instance', () => {
  const profile = JSON.parse(readFileSync(join(import.meta.dir, '../../images/seccomp.json'), 'utf8'));
  expect(profile.defaultAction).toBe('SCMP_ACT_ERRNO');
  const allowed = profile.syscalls
    .filter(({ action, args }: { action: string; args?: unknown[] }) => action === 'SCMP_ACT_ALLOW' && !args)
    .flatMap(({ names }: { names: string[] }) => names);
  const dangerous = [
    ...[
      'mount',
      'umount2',
      'pivot_root',
      'move_mount',
      'open_tree',
      'fsopen',
      'setns',
      'unshare',
      'clone3',
      'chroot',
    ],
    ...['ptrace', 'process_vm_readv', 'process_vm_writev', 'kcmp', 'perf_event_open', 'bpf', 'userfaultfd'],
    ...['keyctl', 'add_key', 'request_key', 'io_uring_setup', 'io_uring_enter', 'open_by_handle_at'],
    ...['init_module', 'finit_module', 'delete_module', 'kexec_load', 'reboot', 'swapon', 'acct', 'quotactl'],
    ...['clock_settime', 'settimeofday', 'sethostname', 'capset', 'personality', 'socket', 'clone'],
  ];
  expect(dangerous.filter((name) => allowed.includes(name))).toEqual([]);
});

type Rule = { readonly args: readonly [{ readonly value: number; readonly valueTwo: number }] };

test('[R35] of the system’s calls on open files the profile refuses those that set flags or a project', () => {
  const { syscalls } = JSON.parse(readFileSync(join(import.meta.dir, '../../images/seccomp.json'), 'utf8'));
  const rules = syscalls.filter(({ names }: { names: string[] }) => names.includes('ioctl'));
  for (const { action, args } of rules) {
    expect(action).toBe('SCMP_ACT_ALLOW');
    // Engines take two conditions on one argument for alternatives.
    expect(args).toMatchObject([{ index: 1, op: 'SCMP_CMP_MASKED_EQ' }]);
    // The kernel looks at 32 bits: others must not decide.
    expect(args[0].value).toBeLessThan(2 ** 32);
  }
  const isAllowed = (request: number): boolean =>
    rules.some(({ args: [{ value, valueTwo }] }: Rule) => (request & value) >>> 0 === valueTwo);
  const [flags, extents, project] = [0x6601, 0x660b, 0x581f];
  for (let low = 0; low < 0x1_0000; low++) {
    const isOfFiles = low >> 8 === 0x66 || low >> 8 === 0x58;
    expect(isAllowed(low)).toBe(!isOfFiles || [flags, extents, project].includes(low));
  }
  // With their directions and sizes: set are flags (64 and 32 bits), a project; got are flags, a project.
  expect([0x40086602, 0x40046602, 0x401c5820].filter(isAllowed)).toEqual([]);
  const ordinary = [
    0x80086601, 0x801c581f, 0x5401, 0x5402, 0x5413, 0x5414, 0x541b, 0x5421, 0x5451, 0x40049409,
  ];
  expect(ordinary.filter((request) => !isAllowed(request))).toEqual([]);
});
