/**
 * What an instance may have on the disk, on a file system of its own with project quotas: ext4, which lets
 * root have what it wants and holds the user of an instance, or what is said where there is none.
 */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Handle } from '../../src/runtime.ts';
import { fileSystemProjects as projects } from '../../src/share/quota.ts';
import { codeOf } from '../contracts/runtime.ts';
import { type QuotaDisk, quotaDisk } from '../share/disk.ts';
import { docker, type Ground, inside, never, openGround, running } from './ground.ts';

const MIB = 1024 * 1024;
const LIMIT = 24 * MIB;
const dir = mkdtempSync(join(tmpdir(), 'disk-'));
let disk: QuotaDisk | null;
let ground: Ground;

beforeAll(() => {
  disk = quotaDisk(dir, 'ext4', 160 * MIB);
  ground = openGround({ projects, ...(disk ? { in: disk.path } : {}) });
}, 60_000);
afterAll(async () => {
  await ground?.close();
  disk?.close();
  rmSync(dir, { recursive: true, force: true });
}, 60_000);

const limits = { diskBytes: LIMIT };
const none = { usedBytes: 0, hardBytes: 0, hardFiles: 0 } as const;
const at = (name: string, ...parts: string[]) => join(ground.dataDir, 'instances', name, ...parts);
const projectOf = async (name: string) => (await projects.of(at(name)))?.project ?? 0;
const tasks = () => join(ground.dataDir, 'agentshare', 'tasks');

/** Bytes until it is stopped, and by what. */
const fill = (place: string) =>
  `dd if=/dev/zero of=${place}/fill bs=64K count=2000 2>&1 | grep -oE 'No space left|quota exceeded'; rm -f ${place}/fill`;
/** Its last line: a kernel may write to its terminal what the file system refused. */
const said = async (handle: Handle, script: string): Promise<string> =>
  (await inside(handle, script)).output.split('\n').at(-1) ?? '';

const refused = /^(No space left|quota exceeded)$/;

/** A test that needs the file system; elsewhere it shows that what is missing is said. */
const onDisk = (title: string, act: () => Promise<void>) =>
  test(title, async () => {
    if (disk !== null) return await act();
    const why = await projects.missing(ground.dataDir);
    expect(why).toMatch(/prjquota|project quotas need|only root/);
    const { unenforced } = await ground.runtime.probe();
    expect(unenforced.find(({ what }) => what === 'disk')?.why).toContain(why ?? '?');
    const { runtime, spec } = ground;
    await expect(runtime.create(spec('web-1', { limits }), never())).rejects.toThrow('mounted with prjquota');
    expect(await codeOf(runtime.check(spec('web-1', { limits })))).toBe('not-implemented');
    process.stderr.write('no project quotas on this machine; only the reason is shown\n');
  }, 120_000);

onDisk(
  '[R33] an instance writes as much as it may in all of its places, and a neighbour and others go on',
  async () => {
    const small = await running(ground, 'small', { limits });
    const other = await running(ground, 'other', { limits, instanceId: 'another' });
    expect(small.walls?.limits.diskBytes).toBe(LIMIT);
    expect(small.walls?.unenforced.map(({ what }) => what)).not.toContain('disk');
    expect((await ground.runtime.probe()).unenforced.map(({ what }) => what)).not.toContain('disk');
    for (const place of ['~', '/srv/work', '/opt/agentic/spool', '/opt/agentic/identity'])
      expect(await said(small, fill(place))).toMatch(refused);
    // All of it is one limit; its keys are another, so that they have room when all is full.
    const hoard = `dd if=/dev/zero of=~/hoard bs=64K count=2000 2>/dev/null; stat -c %s ~/hoard`;
    const had = Number(await said(small, hoard));
    expect(had).toBeGreaterThan(LIMIT / 2);
    expect(had).toBeLessThanOrEqual(LIMIT);
    expect(await said(small, fill('/srv/work'))).toMatch(refused);
    expect(await said(small, 'echo key > /opt/agentic/identity/k && cat /opt/agentic/identity/k')).toBe(
      'key',
    );
    expect(await said(other, 'dd if=/dev/zero of=~/mine bs=1M count=12 2>/dev/null; stat -c %s ~/mine')).toBe(
      String(12 * MIB),
    );
    writeFileSync(join(ground.dataDir, 'of-the-server'), Buffer.alloc(8 * MIB));
    // A full one starts again, and has room when it made some.
    await ground.runtime.stop(small, 500);
    const again = await ground.runtime.start(small, never());
    expect(again.walls?.limits.diskBytes).toBe(LIMIT);
    expect(await said(again, 'rm ~/hoard; echo more > ~/more; cat ~/more')).toBe('more');
  },
);

onDisk('[R33] how many files it may have is limited too', async () => {
  const many = `perl -e 'my $n = 0; while ($n < 12_000) { open(my $f, ">", "$ENV{HOME}/f$n") or last; $n++ } print "$n $!\\n"'`;
  const small = await handleOf('small');
  const [made = '', ...why] = (await said(small, many)).split(' ');
  expect(Number(made)).toBeGreaterThan(9_000);
  expect(Number(made)).toBeLessThan(10_001);
  expect(why.join(' ')).toMatch(/quota exceeded|No space left/);
  await inside(small, 'find ~ -name "f*" -delete');
});

onDisk('[R34] it cannot leave its project, by any name that it may move, link or change', async () => {
  const small = await handleOf('small');
  const project = await projectOf('small');
  const ask = (request: string, what: string) =>
    `perl -MErrno -e 'open(my $f, "<", ${what}) or die "$!"; my $a = pack("L5", 0, 0, 0, 0) . "\\0" x 64; ` +
    `print ioctl($f, ${request}, $a) ? "done " . (unpack("L5", $a))[3] : "refused " . (grep { $!{$_} } keys %!)[0]'`;
  expect(await said(small, `touch ~/own; ${ask('0x801c581f', '"$ENV{HOME}/own"')}`)).toBe(`done ${project}`);
  for (const request of ['0x401c5820', '0x40086602', '0x40046602'])
    for (const what of ['"$ENV{HOME}/own"', '"$ENV{HOME}"'])
      expect(await said(small, ask(request, what))).toBe('refused EPERM');
  await inside(
    small,
    'mkdir -p ~/deep/er; mv ~/own ~/deep/er/; ln ~/deep/er/own ~/second; touch /srv/work/mine',
  );
  expect((await projects.of(at('small', 'home', 'deep', 'er')))?.project).toBe(project);
});

onDisk(
  '[R33] what is lent counts for who has it, and is for the server to write to when it is back',
  async () => {
    const { runtime, dataDir } = ground;
    const small = await handleOf('small');
    const [inbox, outbox] = ['inbox', 'outbox'].map((name) => join(tasks(), 'one', name)) as [string, string];
    for (const path of [inbox, outbox]) mkdirSync(join(path, 'sub'), { recursive: true });
    writeFileSync(join(inbox, 'a'), Buffer.alloc(2 * MIB));
    for (const path of [inbox, outbox]) await runtime.shares?.lend(small, path);
    const project = await projectOf('small');
    expect((await projects.use(dataDir, project))?.usedBytes).toBeGreaterThan(2 * MIB);
    expect(await said(small, fill(`${outbox}/sub`))).toMatch(refused);
    // Somebody who stays where it was lent, with an open file, and rights for all.
    const holder = said(
      small,
      `chmod 777 ${outbox}/sub; cd ${outbox}/sub; exec 7>held; echo ready > ~/ready; ` +
        'until [ -e ~/go ]; do sleep 0.1; done; ' +
        'echo x > new 2>/dev/null && echo made; dd if=/dev/zero bs=64K count=2000 >&7 2>/dev/null; stat -Lc %s /proc/self/fd/7',
    );
    for (let n = 0; n < 600 && !existsSync(at('small', 'home', 'ready')); n++) await Bun.sleep(50);
    for (const path of [inbox, outbox]) await runtime.shares?.takeBack(small, path);
    await inside(small, 'touch ~/go');
    const size = Number(await holder);
    expect(size).toBeGreaterThan(0);
    expect(size).toBeLessThan(LIMIT);
    expect((await projects.of(outbox))?.project).toBe(0);
    expect(statSync(join(outbox, 'sub')).mode & 0o077).toBe(0);
    // The disk of the instance is full by now; ours is not.
    writeFileSync(join(outbox, 'sub', 'patch'), Buffer.alloc(4 * MIB));
    rmSync(join(tasks(), 'one'), { recursive: true });
  },
);

onDisk('[R34] another server finds the limit, and a destroyed instance leaves none', async () => {
  const { again, dataDir, runtime, spec } = ground;
  const small = await handleOf('small');
  const project = await projectOf('small');
  const later = again();
  expect(await later.recover(small)).toBe(true);
  expect((await later.start(small, never())).walls).toEqual(small.walls);
  // A directory that was removed is made again, in the same project.
  await later.stop(small, 500);
  rmSync(at('small', 'work'), { recursive: true });
  await later.start(small, never());
  expect(await projects.of(at('small', 'work'))).toEqual({ project, isInherited: true });
  // As a server that was killed in the middle of it would find it.
  await runtime.destroy(small);
  // XFS knows nothing any more of a project that has nothing.
  for (const one of [project, project + 1])
    expect((await projects.use(dataDir, one)) ?? none).toMatchObject(none);
  mkdirSync(at('small', 'home'), { recursive: true });
  await projects.join(at('small', 'home'), project);
  const anew = await runtime.create(spec('small', { limits }), never());
  expect(await projectOf('small')).toBe(project);
  expect(anew.walls?.limits.diskBytes).toBe(LIMIT);
  const unnamed = await runtime.create(spec('plain', { instanceId: 'a-third' }), never());
  expect(unnamed.walls?.limits.diskBytes).toBe(50 * 1024 * MIB);
});

async function handleOf(name: string): Promise<Handle> {
  const { spec } = (await ground.runtime.inventory()).find((one) => one.spec.name === name) ?? {};
  if (!spec) throw new Error(`there is no ${name}`);
  const handle = await ground.runtime.create(spec, never());
  expect((await docker.getContainer(String(handle['container'])).inspect()).Name).toContain(name);
  return handle;
}
