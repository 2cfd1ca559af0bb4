/**
 * `bun bench/limits.ts [--seconds 5]`
 *
 * A fork bomb, a memory hog and a disk filler in one container, while keystrokes go to a terminal in another
 * and come back, over the server's own WebSocket: how long they take before and meanwhile, and what stopped
 * each. The server's data is on an ext4 of its own with project quotas where this machine may mount one;
 * else nothing holds what the disk filler writes into home, work and spool, which is said. The last line is
 * one JSON object.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { readWords, wholeNumber } from '../scripts/arguments.ts';
import type { InstanceView, SessionView } from '../src/views.ts';
import { quotaDisk } from '../tests/share/disk.ts';
import { type ContainerHouse, containerHouse, engineSocket } from './container-house.ts';
import { type Storm, storms } from './limits-storms.ts';
import { echoScript, type Keyboard, keyboard, overAttach } from './terminal-echo.ts';
import { type Echo, echoOf, nowMs, rounded } from './terminal-figures.ts';

const usage = 'Usage: bun bench/limits.ts [--seconds 5]';
const { values } = readWords(usage, () =>
  parseArgs({
    options: {
      seconds: { type: 'string', default: '5' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  }),
);
const seconds = wholeNumber(usage, { name: 'seconds', text: values.seconds, least: 1 });

const MIB = 1024 * 1024;
const ECHO_MS_MAX = 50;
const [BAD, GOOD] = ['storming', 'neighbour'] as const;
const limits = { cpus: 0.5, memory_bytes: 256 * MIB, processes: 128 };
const DISK_BYTES = 128 * MIB;
/** Of the file system: what the neighbour and the server need is left of it. */
const IMAGE_BYTES = 1_024 * MIB;
const progress = (what: string) => void process.stderr.write(`… ${what}\n`);

interface Outcome {
  readonly storm: string;
  readonly before: Echo;
  readonly during: Echo;
  /** As it was told from inside, a line each; or how its command ended. */
  readonly said: readonly string[];
  /** What the kernel counted against the container meanwhile. */
  readonly refusedForks: number;
  readonly oomKills: number;
  /** Events `oom` of the engine meanwhile. */
  readonly oomEvents: number;
  /** The same life of the container goes on and takes a command, and the server is ready. */
  readonly goesOn: boolean;
}

const idle = (keys: Keyboard): Promise<number[]> => {
  const end = nowMs() + seconds * 1_000;
  return keys.type(() => nowMs() >= end);
};

/** On cgroup v1 and v2; 0 where the kernel does not say. */
async function counted(house: ContainerHouse, what: 'forks' | 'kills'): Promise<number> {
  const script =
    what === 'forks'
      ? 'cat /sys/fs/cgroup/pids/pids.events /sys/fs/cgroup/pids.events'
      : 'cat /sys/fs/cgroup/memory/memory.oom_control /sys/fs/cgroup/memory.events';
  const { stdout } = await house.exec(BAD, `${script} 2>/dev/null`);
  const name = what === 'forks' ? 'max' : 'oom_kill';
  return Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(stdout)?.[1] ?? 0);
}

async function oomEvents(house: ContainerHouse, container: string, since: number): Promise<number> {
  const until = Math.ceil(Date.now() / 1_000);
  const filters = { container: [container], event: ['oom'] };
  const asked = { since: Math.floor(since / 1_000), until, filters };
  let text = '';
  const events = (await house.docker.getEvents(asked as never)) as unknown as AsyncIterable<Buffer>;
  for await (const bytes of events) text += bytes.toString();
  return text.split('\n').filter(Boolean).length;
}

async function unleash(house: ContainerHouse, keys: Keyboard, { name, script }: Storm): Promise<Outcome> {
  progress(`before the ${name}`);
  const { Id: container, State } = await house.container(BAD);
  const before = echoOf(await idle(keys));
  const [forks, kills, since] = [await counted(house, 'forks'), await counted(house, 'kills'), Date.now()];
  progress(name);
  let isOver = false;
  const least = nowMs() + seconds * 1_000;
  const typing = keys.type(() => isOver && nowMs() >= least);
  const ran = await house.exec(BAD, script, seconds + 60).catch((thrown: Error) => thrown);
  isOver = true;
  const during = echoOf(await typing);
  const said =
    ran instanceof Error
      ? [ran.message]
      : [...ran.stdout.trim().split('\n'), ...(ran.exit_code === 0 ? [] : [`ended with ${ran.exit_code}`])];
  await house.answers(BAD);
  const after = await house.container(BAD);
  return {
    storm: name,
    before,
    during,
    said,
    refusedForks: (await counted(house, 'forks')) - forks,
    oomKills: (await counted(house, 'kills')) - kills,
    oomEvents: await oomEvents(house, container, since),
    goesOn:
      after.State.StartedAt === State.StartedAt &&
      after.State.Running &&
      (await fetch(`${house.url()}/readyz`)).ok,
  };
}

async function neighbour(house: ContainerHouse): Promise<Keyboard> {
  const body = { command: 'sh', args: ['-c', echoScript], cols: 80, rows: 24 };
  const { session_id } = await house.post<SessionView>(`agents/${GOOD}/sessions`, body);
  return await keyboard(overAttach(house.ws, session_id));
}

function print(outcomes: readonly Outcome[], { walls, crashes }: InstanceView, load: number): void {
  console.log(`limits as they are set: ${JSON.stringify(walls?.limits)}`);
  for (const { what, why } of walls?.unenforced ?? []) console.log(`not enforced: ${what}: ${why}`);
  for (const { storm, before, during, ...rest } of outcomes) {
    const echo = `p50 ${before.p50} p99 ${before.p99} before, p50 ${during.p50} p99 ${during.p99} meanwhile`;
    console.log(`${storm.padEnd(12)} neighbour's echo in ms: ${echo} (${during.keys} keys)`);
    for (const line of rest.said) console.log(`${''.padEnd(13)}${line}`);
    console.log(
      `${''.padEnd(13)}forks refused ${rest.refusedForks}, killed for memory ${rest.oomKills}, ` +
        `events ${rest.oomEvents}; ${rest.goesOn ? 'instance and server go on' : 'IT DID NOT GO ON'}`,
    );
  }
  const worst = Math.max(...outcomes.map(({ during }) => during.p99));
  const goOn = outcomes.every((one) => one.goesOn) && crashes === 0;
  const targets = [
    { target: `the neighbour's echo p99 <= ${ECHO_MS_MAX} ms`, figure: worst, ok: worst <= ECHO_MS_MAX },
    { target: 'instance and server go on', figure: goOn ? 1 : 0, ok: goOn },
  ];
  for (const { target, figure, ok } of targets)
    console.log(`${ok ? 'ok    ' : 'missed'}  ${target}: ${figure}`);
  console.log(JSON.stringify({ seconds, load, limits: walls?.limits, outcomes, targets }));
}

const socket = await engineSocket();
const dir = mkdtempSync(join(tmpdir(), 'limits-'));
const disk = quotaDisk(dir, 'ext4', IMAGE_BYTES);
if (disk === null)
  console.log('no ext4 with project quotas can be mounted here: no limit of disk, and none is shown');
const env = disk === null ? {} : { AGENTIC_DATA_DIR: join(disk.path, 'data') };
const house = await containerHouse(socket, env);
try {
  for (const name of [BAD, GOOD])
    await house.post('instances', {
      name,
      runtime: 'container',
      image: 'base',
      limits: name === BAD ? { ...limits, ...(disk ? { disk_bytes: DISK_BYTES } : {}) } : {},
    });
  for (const name of [BAD, GOOD]) await house.answers(name);
  const keys = await neighbour(house);
  const outcomes: Outcome[] = [];
  for (const storm of storms(seconds, limits.memory_bytes, disk && DISK_BYTES))
    outcomes.push(await unleash(house, keys, storm));
  keys.close();
  print(outcomes, await house.get<InstanceView>(`instances/${BAD}`), rounded(loadavg()[0] ?? 0));
  await house.destroy([BAD, GOOD]);
} finally {
  await house.close();
  disk?.close();
  rmSync(dir, { recursive: true, force: true });
}
