/** Files that change hands while whoever had them still changes them. */
import { afterEach, expect, test } from 'bun:test';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { give, take } from '../../src/runtime/container-files.ts';
import { removeInstanceDir } from '../../src/runtime/instance-dir.ts';

const THEIRS = 10_001;
const made: string[] = [];
afterEach(() => {
  for (const dir of made.splice(0)) rmSync(dir, { recursive: true, force: true });
});

const place = (): string => {
  const dir = mkdtempSync(join(tmpdir(), 'hands-'));
  made.push(dir);
  return dir;
};
const nobody = { user: { uid: THEIRS, gid: THEIRS }, help: async () => {} };

test.if(process.getuid?.() === 0)(
  '[R30] a directory that is exchanged for a link while it is given leads to nothing of ours',
  async () => {
    const [lent, ours] = [place(), place()];
    writeFileSync(join(ours, 'kept.txt'), 'ours');
    mkdirSync(join(lent, 'real'));
    writeFileSync(join(lent, 'real', 'kept.txt'), 'theirs');
    const swap = `cd "$1" && while [ ! -e stop ]; do mv -T real door; mv -T door real; ln -s "$2" door; rm door; done`;
    const swapping = Bun.spawn(['sh', '-c', swap, 'sh', lent, ours], { stdout: 'ignore', stderr: 'ignore' });
    for (let i = 0; i < 400; i++) await give([lent], nobody);
    writeFileSync(join(lent, 'stop'), '');
    expect(await swapping.exited).toBe(0);
    await give([lent], nobody);
    expect(statSync(join(lent, 'real', 'kept.txt')).uid).toBe(THEIRS);
    expect(statSync(join(ours, 'kept.txt')).uid).toBe(0);
    expect(statSync(ours).uid).toBe(0);
  },
  60_000,
);

test.if(process.getuid?.() === 0)(
  '[R30] more directories in one another than anybody needs are refused',
  async () => {
    const lent = place();
    mkdirSync(join(lent, ...Array.from({ length: 600 }, () => 'd')), { recursive: true });
    chownSync(lent, 0, 0);
    await expect(give([lent], nobody)).rejects.toThrow('more than 512 directories');
  },
);

test.if(process.getuid?.() === 0)(
  '[R30] what is taken back is written to by nobody else, also through a directory that is held open',
  async () => {
    const lent = place();
    // The server's own directory is its user's alone; who holds what is below it open comes there all the
    // same.
    chmodSync(lent, 0o755);
    const outbox = join(lent, 'outbox');
    mkdirSync(join(outbox, 'in'), { recursive: true });
    writeFileSync(join(outbox, 'in', 'said.txt'), 'before');
    for (const path of ['', 'in', 'in/said.txt']) chmodSync(join(outbox, path), 0o777);
    mkdirSync(join(outbox, ...Array.from({ length: 600 }, () => 'd')), { recursive: true });
    await give([join(outbox, 'in')], nobody);
    chownSync(outbox, THEIRS, THEIRS);
    await take([outbox], nobody);
    const tries = 'echo x >> said.txt; echo x > new.txt; mkdir ../more; ln -s / ../door; true';
    const { stderr } = Bun.spawnSync(
      ['setpriv', `--reuid=${THEIRS}`, `--regid=${THEIRS}`, '--clear-groups', 'sh', '-c', tries],
      { cwd: join(outbox, 'in') },
    );
    expect(stderr.toString().match(/Permission denied/g)?.length).toBe(4);
    expect(statSync(join(outbox, 'in', 'said.txt')).uid).toBe(0);
  },
);

test('[C27] directories in one another, deeper than a path can be long, are removed too', async () => {
  const [root, part] = [place(), Array.from({ length: 350 }, () => 'directory')];
  const path = join(root, 'web-1');
  mkdirSync(path);
  for (let i = 0; i < 6; i++) {
    mkdirSync(join(root, 'above', ...part), { recursive: true });
    renameSync(path, join(root, 'above', ...part, 'web-1'));
    renameSync(join(root, 'above'), path);
  }
  await removeInstanceDir({ path });
  expect(existsSync(path)).toBe(false);
  await removeInstanceDir({ path });
}, 60_000);
