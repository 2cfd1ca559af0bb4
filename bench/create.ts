/**
 * `bun bench/create.ts [--runs 10] [--at-once 20]`
 *
 * From the request for an instance in a container to the answer of its first command, over HTTP, beside
 * `docker run` of the same image with the same walls until its first line, in turns. Then many at once. The
 * last line is one JSON object.
 */
import { loadavg } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import type Docker from 'dockerode';
import { readWords, wholeNumber } from '../scripts/arguments.ts';
import { ANSWER_MS, type ContainerHouse, containerHouse, engineSocket } from './container-house.ts';
import { median, nowMs, rounded } from './terminal-figures.ts';

const usage = 'Usage: bun bench/create.ts [--runs 10] [--at-once 20]';
const { values } = readWords(usage, () =>
  parseArgs({
    options: {
      runs: { type: 'string', default: '10' },
      'at-once': { type: 'string', default: '20' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  }),
);
const runs = wholeNumber(usage, { name: 'runs', text: values.runs, least: 1 });
const atOnce = wholeNumber(usage, { name: 'at-once', text: values['at-once'], least: 1 });

const OVERHEAD_MS = 400;
const seccomp = join(resolve(import.meta.dir, '..'), 'images', 'seccomp.json');
const limits = { cpus: 2, memory_bytes: 512 * 1024 * 1024, processes: 256 };
const progress = (what: string) => void process.stderr.write(`… ${what}\n`);

/** Milliseconds from the request. */
interface Ours {
  readonly total: number;
  /** The engine has the container. */
  readonly created: number;
  /** Its first process runs. */
  readonly started: number;
  /** The agent is connected, and the server knows that it is ready. */
  readonly ready: number;
}

async function ours(house: ContainerHouse, name: string): Promise<Ours> {
  const began = nowMs();
  await house.post('instances', { name, runtime: 'container', image: 'base', limits });
  const { readyMs, answeredMs } = await house.answers(name);
  const { Created, State } = await house.container(name);
  return {
    total: answeredMs - began,
    created: Date.parse(Created) - began,
    started: Date.parse(State.StartedAt) - began,
    ready: readyMs - began,
  };
}

/** The words of `docker run` for what the engine has of an instance: the same image, the same walls. */
function bareWords({ Image, Config, HostConfig: host }: Docker.ContainerInspectInfo): readonly string[] {
  const places = (host.Mounts ?? []).flatMap(({ Source, Target, ReadOnly }) => [
    '--mount',
    `type=bind,source=${Source},target=${Target}${ReadOnly ? ',readonly' : ''},bind-propagation=private`,
  ]);
  return [
    ...['run', '--rm', '--network', host.NetworkMode ?? 'none', '--read-only', '--cap-drop', 'ALL'],
    ...['--security-opt', 'no-new-privileges:true', '--security-opt', `seccomp=${seccomp}`],
    ...['--user', Config.User, '--workdir', Config.WorkingDir, '--hostname', Config.Hostname],
    ...Config.Env.flatMap((one) => ['--env', one]),
    ...['--cpus', String((host.NanoCpus ?? 0) / 1e9), '--pids-limit', String(host.PidsLimit)],
    ...['--memory', String(host.Memory), '--memory-swap', String(host.MemorySwap)],
    ...Object.entries(host.Tmpfs ?? {}).flatMap(([path, how]) => ['--tmpfs', `${path}:${how}`]),
    ...['--shm-size', String(host.ShmSize), '--ipc', 'private', '--ulimit', 'core=0:0'],
    ...places,
    ...['--entrypoint', '/usr/bin/tini', Image, '--', '/bin/echo', 'here'],
  ];
}

/** Until its first line is read; what follows, its removal, is not counted. */
async function bare(socket: string, words: readonly string[]): Promise<number> {
  const began = nowMs();
  const child = Bun.spawn(['docker', '-H', `unix://${socket}`, ...words], {
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: ANSWER_MS,
  });
  let tookMs = Number.NaN;
  for await (const bytes of child.stdout)
    if (Number.isNaN(tookMs) && Buffer.from(bytes).includes('here')) tookMs = nowMs() - began;
  const code = await child.exited;
  if (code !== 0 || Number.isNaN(tookMs)) throw new Error(`docker run ended with ${code}, without its line`);
  return tookMs;
}

interface Measured {
  readonly ours: readonly Ours[];
  readonly bare: readonly number[];
  readonly crowd: { readonly ours: readonly number[]; readonly bare: readonly number[] };
}

async function measure(house: ContainerHouse): Promise<Measured> {
  const names = Array.from({ length: atOnce }, (_, n) => `crowd-${n}`);
  progress('the first of each, not counted: the engine loads the image');
  await ours(house, 'model');
  const words = bareWords(await house.container('model'));
  await bare(house.socket, words);
  const mine: Ours[] = [];
  const theirs: number[] = [];
  for (let run = 0; run < runs; run++) {
    progress(`run ${run + 1} of ${runs}`);
    const name = `one-${run}`;
    mine.push(await ours(house, name));
    await house.destroy([name]);
    theirs.push(await bare(house.socket, words));
  }
  progress(`${atOnce} at once`);
  const crowd = (await Promise.all(names.map((name) => ours(house, name)))).map(({ total }) => total);
  await house.destroy(names);
  const bareCrowd = await Promise.all(names.map(() => bare(house.socket, words)));
  await house.destroy(['model']);
  return { ours: mine, bare: theirs, crowd: { ours: crowd, bare: bareCrowd } };
}

function print({ ours, bare, crowd }: Measured, load: number): void {
  const typical = (of: (one: Ours) => number) => rounded(median(ours.map(of)));
  const [total, run] = [typical((one) => one.total), rounded(median(bare))];
  const overhead = rounded(total - run);
  const parts = {
    created: typical((one) => one.created),
    started: typical((one) => one.started - one.created),
    connected: typical((one) => one.ready - one.started),
    answered: typical((one) => one.total - one.ready),
  };
  const slowest = {
    ours: rounded(Math.max(...crowd.ours)),
    bare: rounded(Math.max(...crowd.bare)),
  };
  const complete = crowd.ours.length === atOnce;
  const targets = [
    {
      target: `our overhead <= ${OVERHEAD_MS} ms at the median`,
      figure: overhead,
      ok: overhead <= OVERHEAD_MS,
    },
    { target: `${atOnce} at once complete`, figure: crowd.ours.length, ok: complete },
  ];
  console.log(`create to first answer, median of ${runs}   ${total} ms`);
  console.log(
    `  made ${parts.created}   started ${parts.started} later   agent ready ${parts.connected} later   ` +
      `first command answered ${parts.answered} later`,
  );
  console.log(`docker run to first line, median of ${runs}  ${run} ms`);
  console.log(`ratio ${rounded(total / run, 2)}, difference ${overhead} ms, load ${load}`);
  console.log(`${atOnce} at once: the slowest ${slowest.ours} ms, of docker run ${slowest.bare} ms`);
  for (const { target, figure, ok } of targets)
    console.log(`${ok ? 'ok    ' : 'missed'}  ${target}: ${figure}`);
  const ratio = rounded(total / run, 3);
  console.log(
    JSON.stringify({ runs, ours: total, bare: run, ratio, overhead, parts, atOnce, slowest, load, targets }),
  );
}

const socket = await engineSocket();
const house = await containerHouse(socket);
try {
  const measured = await measure(house);
  print(measured, rounded(loadavg()[0] ?? 0));
} finally {
  await house.close();
}
