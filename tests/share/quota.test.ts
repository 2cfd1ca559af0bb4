/**
 * Project quotas on a file system of its own: an image that is mounted where this machine may do that and its
 * kernel has them, and otherwise what is said of that.
 */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../src/clock.ts';
import { silentLog } from '../../src/log.ts';
import type { Area } from '../../src/share/area.ts';
import { writeFile } from '../../src/share/change.ts';
import { partsOf } from '../../src/share/names.ts';
import { probeQuota, projectUse } from '../../src/share/quota.ts';
import { agentshare } from '../../src/share/store.ts';
import { type DiskKind, type QuotaDisk, quotaDisk } from './disk.ts';
import { codeOf, upload } from './ground.ts';

const MIB = 1024 * 1024;
const dir = mkdtempSync(join(tmpdir(), 'share-quota-'));
const signal = new AbortController().signal;

const kinds: readonly DiskKind[] = ['ext4', 'xfs'];
const disks = new Map<DiskKind, QuotaDisk | null>();

beforeAll(() => {
  for (const kind of kinds) disks.set(kind, quotaDisk(dir, kind));
}, 120_000);
afterAll(() => {
  for (const disk of disks.values()) disk?.close();
  rmSync(dir, { recursive: true, force: true });
}, 60_000);

const open = async (root: string, quotaBytes: number) => {
  const share = agentshare({ root, quotaBytes, globalQuotaBytes: 0, clock: systemClock, log: silentLog });
  await share.open();
  return share;
};

const ids = ['a', 'b'].map((end) => `01920000-0000-7000-8000-00000000000${end}`) as [string, string];

/**
 * How a write of so many bytes ends for the user of an instance, who has its leaf for a working directory and
 * cannot come by way of ours.
 */
function written(leaf: string, name: string, bytes: number): string {
  const script = `
    process.chdir(${JSON.stringify(leaf)});
    process.setgid(10001);
    process.setuid(10001);
    try {
      require('node:fs').writeFileSync(${JSON.stringify(name)}, Buffer.alloc(${bytes}, 1));
      process.stdout.write('written');
    } catch (thrown) {
      process.stdout.write(thrown.code);
    }`;
  return Bun.spawnSync([process.execPath, '-e', script]).stdout.toString();
}

for (const kind of kinds) {
  test(`[F15] ${kind} with project quotas refuses what is too much, or its reason is said`, async () => {
    const at = disks.get(kind)?.path;
    if (at === undefined) {
      const share = await open(join(dir, `plain-${kind}`), MIB);
      expect(share.quotaReason()).toMatch(/prjquota|project quotas need/);
      process.stderr.write(`${kind}: no project quotas on this machine; only the reason is shown\n`);
      return;
    }
    expect(await probeQuota(at)).toEqual({ works: true, fileSystem: kind });
    const root = join(at, 'agentshare');
    const share = await open(root, 4 * MIB);
    expect(share.quotaReason()).toBeNull();
    const owner = { uid: 10_001, gid: 10_001 };
    for (const id of ids) await share.prepare({ instanceId: id, name: 'web-1', owner, isSameUser: false });
    const [one, two] = await Promise.all(ids.map((id) => share.facts(id)));
    expect(one?.project).not.toBeNull();
    expect(two?.project).not.toBe(one?.project as number);
    const { outbox, workspace } = share.layout.place(ids[0]);
    expect(written(outbox, 'fits', 3 * MIB)).toBe('written');
    expect(written(workspace, 'too-much', 3 * MIB)).toMatch(/^(EDQUOT|ENOSPC)$/);
    expect(statSync(join(outbox, 'fits')).size).toBe(3 * MIB);
    // It is this instance's limit and nobody else's.
    expect(written(share.layout.place(ids[1]).outbox, 'fits', 3 * MIB)).toBe('written');
    expect(await share.measure(ids[0], signal)).toMatchObject({
      enforcedBy: 'file-system',
      limitBytes: 4 * MIB,
      isWhole: true,
    });
    const { inbox, staging } = share.layout.place(ids[0]);
    const admit = (bytes: number) => share.admit(ids[0], bytes);
    await byRoute({ root: inbox, staging, admit });
    // Another server finds the project, and gives it the limit that is configured then.
    const later = await open(root, 8 * MIB);
    await later.prepare({ instanceId: ids[0], name: 'web-1', owner, isSameUser: true });
    // ext4 lets root have what it wants; then it is not said to enforce anything.
    const enforcedBy = kind === 'xfs' ? 'file-system' : 'routes';
    expect(await later.measure(ids[0], signal)).toMatchObject({ enforcedBy });
    expect((await later.facts(ids[0]))?.project).toBe(one?.project as number);
    expect((await projectUse(root, one?.project as number))?.hardBytes).toBe(8 * MIB);
    expect(await later.drop(ids[0], true)).toBe('removed');
    expect((await projectUse(root, one?.project as number))?.hardBytes ?? 0).toBe(0);
  }, 120_000);
}

/** What the file system refuses is told as what it is, and leaves nothing. */
async function byRoute(own: Pick<Area, 'root' | 'staging' | 'admit'>): Promise<void> {
  const area = {
    ...own,
    name: 'inbox of web-1',
    owner: null,
    fileMode: 0o644,
    dirMode: 0o755,
  };
  const large = upload('x'.repeat(4 * MIB), { bytesMax: 8 * MIB });
  expect(await codeOf(writeFile(area, partsOf('large'), large))).toBe('over-quota');
  expect([...readdirSync(own.root), ...readdirSync(own.staging)]).toEqual([]);
}
