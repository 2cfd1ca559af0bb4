/**
 * Records a real program's terminal into a golden case: `<case>/recording.cast` (asciicast v2) +
 * `<case>/expected.json`.
 *
 *   bun scripts/transcript.ts OUT [--only NAME[,NAME]] [--show] [--list]    the cases of tests/asking/record/
 *   bun scripts/transcript.ts OUT --only NAME --answer TEXT --show         answers it instead of saving it
 *   bun scripts/transcript.ts OUT --name NAME --type KEYS… -- COMMAND…      one program of your own
 *
 * The program runs on a real PTY whose questions to the terminal are answered by a real terminal emulator.
 * Recordings are made to be published: when run as root they happen as user `dev` on host `box` (see
 * `neutral`), in a fresh directory seen as /home/dev/project, with a bare environment and no wall-clock time
 * in the file.
 */
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Terminal } from '@xterm/headless';
import { readQuestion } from '../src/terminal/asking.ts';
import { keysFor } from '../src/terminal/asking-keys.ts';
import { screenFacts } from '../src/terminal/asking-screen.ts';
import type { Recorded, RecordingCase, Step } from '../tests/asking/record/case.ts';

const deadlineMs = 15_000;
const coalesceMs = 30;

interface Stage {
  readonly terminal: Terminal;
  readonly events: (readonly [number, 'o' | 'r', string])[];
  lastOutput: number;
  readonly type: (keys: string) => void;
  readonly resize: (cols: number, rows: number) => void;
}

/**
 * Plays a case on a real terminal; with `answer`, also types it when the screen stands, and goes on until it
 * is quiet.
 */
export async function record(
  wanted: RecordingCase,
  answer?: { text?: string; option?: string },
): Promise<Recorded> {
  const cols = wanted.cols ?? 80;
  const rows = wanted.rows ?? 24;
  const started = performance.now();
  const decoder = new TextDecoder();
  const screen = new Terminal({ cols, rows, scrollback: 500, allowProposedApi: true });
  const events: (readonly [number, 'o' | 'r', string])[] = [];
  let held = '';
  let over = false;
  const flush = () => {
    if (held !== '') events.push([Math.round(performance.now() - started) / 1000, 'o', held]);
    held = '';
  };
  const stage = { terminal: screen, events, lastOutput: performance.now() };
  const child = Bun.spawn(neutral(wanted), {
    cwd: '/',
    env: {},
    terminal: {
      cols,
      rows,
      name: 'xterm-256color',
      data(_terminal, bytes) {
        if (over) return;
        const text = decoder.decode(bytes, { stream: true });
        if (held === '') setTimeout(flush, coalesceMs);
        held += text;
        stage.lastOutput = performance.now();
        screen.write(text);
      },
    },
  });
  screen.onData((reply) => child.terminal?.write(reply));
  const hands: Stage = Object.assign(stage, {
    type: (keys: string) => void child.terminal?.write(keys),
    resize: (wide: number, high: number) => {
      flush();
      events.push([Math.round(performance.now() - started) / 1000, 'r', `${wide}x${high}`]);
      screen.resize(wide, high);
      child.terminal?.resize(wide, high);
    },
  });
  try {
    for (const step of wanted.steps) await act(step, hands);
    await quiet(hands, wanted.settleMs ?? 400);
    if (answer !== undefined) {
      const question = readQuestion(screenFacts(screen, null));
      const keys = question === null ? null : keysFor(question, answer);
      if (keys === null) throw new Error(`cannot be answered so: ${JSON.stringify(question)}`);
      hands.type(keys);
      await quiet(hands, 1200);
    }
  } finally {
    flush();
    over = true;
    child.kill('SIGKILL');
    await child.exited;
    child.terminal?.close();
  }
  return { cols, rows, events: wanted.scrub === undefined ? events : scrubbed(events, wanted.scrub), screen };
}

async function act(step: Step, hands: Stage): Promise<void> {
  if ('until' in step) await seen(step.until, hands);
  if ('keys' in step) hands.type(step.keys);
  if ('resize' in step) hands.resize(step.resize[0], step.resize[1]);
  if ('settle' in step) await quiet(hands, step.settle);
  if ('pause' in step) await Bun.sleep(step.pause);
}

async function seen(pattern: RegExp, hands: Stage): Promise<void> {
  const deadline = performance.now() + deadlineMs;
  while (!pattern.test(shown(hands.terminal))) {
    if (performance.now() > deadline) throw new Error(`never saw ${pattern} on:\n${shown(hands.terminal)}`);
    await Bun.sleep(25);
  }
}

async function quiet(hands: Stage, forMs: number): Promise<void> {
  const since = performance.now();
  const deadline = since + Math.max(4_000, forMs);
  while (performance.now() - Math.max(since, hands.lastOutput) < forMs && performance.now() < deadline) {
    await Bun.sleep(20);
  }
}

export function shown(term: Terminal): string {
  const rows: string[] = [];
  const buffer = term.buffer.active;
  for (let row = 0; row < term.rows; row++) {
    rows.push(buffer.getLine(buffer.baseY + row)?.translateToString(true) ?? '');
  }
  return rows.join('\n').trimEnd();
}

/** Runs as `dev` on host `box` when we may; each case gets an empty home and project of those names. */
function neutral(wanted: RecordingCase): string[] {
  const home = '/home/dev';
  const env = {
    HOME: home,
    USER: 'dev',
    LOGNAME: 'dev',
    SHELL: '/bin/bash',
    TERM: 'xterm-256color',
    LANG: 'C.UTF-8',
    PATH: '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin',
    PS1: '$ ',
    ...wanted.env,
  };
  const pairs = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  const inside = `mkdir -p project && cd project && ${wanted.setup ?? ':'}\nclear; exec ${wanted.run}`;
  const program = ['env', '-i', ...pairs, 'bash', '--norc', '-c', `cd ~ && { ${inside}\n}`];
  const user = wanted.asRoot === true ? [] : ['setpriv', '--reuid=dev', '--regid=dev', '--init-groups'];
  const host =
    'hostname box; mount -t tmpfs tmpfs /home/dev && cp -r /etc/skel/. /home/dev && chown -R dev:dev /home/dev; exec "$@"';
  return ['unshare', '--uts', '--mount', 'sh', '-c', host, 'sh', ...user, ...program];
}

function scrubbed(
  events: readonly (readonly [number, 'o' | 'r', string])[],
  words: readonly (readonly [RegExp, string])[],
) {
  return events.map(
    ([at, kind, text]) =>
      [at, kind, words.reduce((clean, [from, to]) => clean.replace(from, to), text)] as const,
  );
}

export function save(folder: string, wanted: RecordingCase, made: Recorded): void {
  const place = join(folder, wanted.name);
  mkdirSync(place, { recursive: true });
  const header = { version: 2, width: made.cols, height: made.rows, env: { TERM: 'xterm-256color' } };
  const lines = [header, ...made.events].map((line) => JSON.stringify(line));
  writeFileSync(join(place, 'recording.cast'), `${lines.join('\n')}\n`);
  writeFileSync(join(place, 'expected.json'), `${JSON.stringify(wanted.expected, null, 2)}\n`);
}

async function casesKnown(): Promise<RecordingCase[]> {
  const folder = resolve(import.meta.dir, '../tests/asking/record');
  const all: RecordingCase[] = [];
  for (const file of readdirSync(folder).sort()) {
    if (!file.endsWith('-cases.ts')) continue;
    const module: { cases: readonly RecordingCase[] } = await import(join(folder, file));
    all.push(...module.cases);
  }
  return all;
}

function own(args: readonly string[]): RecordingCase {
  const split = args.indexOf('--');
  const name = args[args.indexOf('--name') + 1] ?? 'unnamed';
  const steps: Step[] = [];
  for (let at = 0; at < split; at++) {
    if (args[at] === '--type') steps.push({ settle: 600 }, { keys: JSON.parse(`"${args[at + 1] ?? ''}"`) });
  }
  const run = args
    .slice(split + 1)
    .map((word) => `'${word.replaceAll("'", `'\\''`)}'`)
    .join(' ');
  return { name, run, steps: [...steps, { settle: 800 }], expected: { asking: false } };
}

if (import.meta.main) {
  const [out, ...rest] = process.argv.slice(2);
  if (out === undefined || out.startsWith('--')) {
    console.error(
      'usage: bun scripts/transcript.ts OUT [--only NAME,…] [--show] | OUT --name NAME --type KEYS -- COMMAND',
    );
    process.exit(2);
  }
  const only = rest.includes('--only') ? (rest[rest.indexOf('--only') + 1] ?? '').split(',') : null;
  const wanted = rest.includes('--name') ? [own(rest)] : await casesKnown();
  const picked = rest.includes('--answer') ? rest[rest.indexOf('--answer') + 1] : undefined;
  let failed = 0;
  for (const one of wanted.filter(
    (each) => only === null || only.some((part) => new RegExp(`^${part}$`).test(each.name)),
  )) {
    if (rest.includes('--list')) {
      console.log(one.name);
      continue;
    }
    const ready = await one.before?.();
    try {
      const made = await record(one, picked === undefined ? undefined : { text: picked });
      if (picked === undefined) save(out, one, made);
      const asked = readQuestion(screenFacts(made.screen, null));
      const bytes = made.events.reduce((sum, [, , text]) => sum + text.length, 0);
      console.log(`${one.name}: ${bytes} bytes, ${JSON.stringify(asked)}`);
      if (rest.includes('--show')) console.log(`${shown(made.screen)}\n${'='.repeat(made.cols)}`);
    } catch (error) {
      failed++;
      console.error(`${one.name}: ${error instanceof Error ? error.message : String(error)}`);
    } finally {
      await ready?.();
    }
  }
  process.exit(failed === 0 ? 0 : 1);
}
