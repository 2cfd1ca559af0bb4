/**
 * What the end-to-end tests work on: a repository, a scripted model with its scenario, and the manifest of a
 * task.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { ArtifactView, HitlView, SessionView, TaskView } from '../../src/views.ts';
import { readScenario } from '../model-server/scenario.ts';
import { type ModelServer, startModelServer } from '../model-server/server.ts';
import { type House, until } from './house.ts';

/** Long enough for Claude Code to remember only its end. */
export const apiKey = 'sk-ant-scripted-0123456789-abcdefghij';

const quiet = { GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_NOSYSTEM: '1' };

/** The real git, with nobody's configuration; gives its standard output as it is. */
export function git(cwd: string, ...args: string[]): string {
  const who = ['-c', 'user.name=Ada', '-c', 'user.email=ada@example.org', '-c', 'init.defaultBranch=main'];
  const done = Bun.spawnSync(['git', ...who, ...args], {
    cwd,
    env: { PATH: process.env['PATH'] ?? '', HOME: cwd, ...quiet },
  });
  if (done.exitCode !== 0) throw new Error(`git ${args.join(' ')}: ${done.stderr.toString()}`);
  return done.stdout.toString();
}

export const notes = 'one\ntwo\nthree\n';
/** Bytes of every kind, so that nothing on the way may take them for text. */
export const picture = Uint8Array.from({ length: 4_096 }, (_, i) => (i * 31) % 256);

export function put(dir: string, files: Readonly<Record<string, string | Uint8Array>>): void {
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(dir, name)), { recursive: true });
    writeFileSync(join(dir, name), content);
  }
}

/** A repository with one commit, to clone from. */
export function repository(dir: string): string {
  const path = join(dir, 'origin');
  put(path, { 'notes.txt': notes, 'images/seed.bin': picture });
  git(path, 'init', '-q');
  git(path, 'add', '-A');
  git(path, 'commit', '-q', '-m', 'The beginning');
  return path;
}

/** What headless Claude is to make, and interactive Claude once it may. */
export const made = {
  'lines.txt': '3\n',
  'report.md': '# Report\n\nThere are three lines; that is all. ✓\n',
};

export const releaseNotes = { 'notes/1.0/README.md': '# Release 1.0\n' };

/** What the scripted model asks for to make the report. */
export const writeReport = { tool: 'Write', input: { file_path: 'report.md', content: made['report.md'] } };
const counts = 'wc -l < notes.txt | tr -d " " > lines.txt && cp images/seed.bin images/copy.bin';

/** Both tasks, and what else a test has it say. */
export function scriptedModel({
  key = apiKey,
  more = [],
}: {
  key?: string;
  more?: object[];
} = {}): ModelServer {
  return startModelServer(
    readScenario({
      key,
      aside: 'Count lines',
      rules: [
        {
          user: 'count the lines',
          turns: [
            {
              say: 'I count the lines of notes.txt.',
              use: [{ tool: 'Bash', input: { command: counts, description: 'Count the lines' } }],
            },
            { use: [writeReport] },
            { say: 'The lines are counted: see report.md.' },
          ],
        },
        {
          user: 'start the release notes',
          turns: [
            {
              say: 'They get a folder of their own. I make it and write the first line.',
              use: [
                {
                  tool: 'Bash',
                  input: {
                    command: 'mkdir -p notes/1.0 && echo "# Release 1.0" > notes/1.0/README.md',
                    description: 'Start the release notes',
                  },
                },
              ],
            },
            { say: 'The notes are started: see notes/1.0/README.md.' },
          ],
        },
        ...more,
      ],
    }),
  );
}

export interface Wish {
  readonly id?: string;
  readonly name: string;
  readonly mode: 'headless' | 'interactive';
  readonly prompt: string;
  readonly origin: string;
  readonly model: ModelServer;
  readonly patterns: readonly string[];
}

export const manifest = ({ id, name, mode, prompt, origin, model, patterns }: Wish) => ({
  version: '1',
  kind: 'Task',
  metadata: { ...(id ? { id } : {}), name },
  repository: { url: origin, branch: 'main' },
  agent: { tool: 'claude', mode, prompt, model: 'sonnet', env: { ANTHROPIC_BASE_URL: model.url } },
  secrets: [{ name: 'ANTHROPIC_API_KEY', source: 'env' }],
  lifecycle: { timeout: '5m', artifact_patterns: patterns },
});

export async function submit(house: House, wish: Wish): Promise<string> {
  const answer = await house.post<{ task_id: string; accepted: boolean }>('tasks', {
    manifest: manifest(wish),
  });
  if (!answer.accepted) throw new Error(`not accepted: ${JSON.stringify(answer)}`);
  return answer.task_id;
}

/**
 * An instance in a container has to be made and removed meanwhile, beside whatever else this machine does.
 */
const END_MS = 120_000;
const ASK_MS = 60_000;

const ended = ['COMPLETED', 'FAILED', 'FAILED_PRESERVED', 'CANCELLED'];

export const taskOf = (house: House, id: string): Promise<TaskView> => house.get<TaskView>(`tasks/${id}`);

/** The task once it has ended. */
export function end(house: House, id: string, model: ModelServer): Promise<TaskView> {
  let last = '';
  const look = async (): Promise<TaskView | null> => {
    const task = await taskOf(house, id);
    last = JSON.stringify(task, null, 1);
    return ended.includes(task.state) ? task : null;
  };
  const seen = (): string => `${last}\n${model.faults().join('\n')}\n${house.log().slice(-8_000)}`;
  return until(`task ${id} has ended`, look, { seen, withinMs: END_MS });
}

/** The open question of a task; `after` is one that has been dealt with. */
export async function question(house: House, task: string, after?: HitlView): Promise<HitlView> {
  const look = async (): Promise<HitlView | undefined> => {
    const { requests } = await house.get<{ requests: HitlView[] }>('hitl?state=open');
    return requests.find((one) => one.task_id === task && one.hitl_id !== after?.hitl_id);
  };
  try {
    return await until(`task ${task} asks`, look, { withinMs: ASK_MS });
  } catch (thrown) {
    throw new Error(`${thrown instanceof Error ? thrown.message : thrown}\n${await scene(house, task)}`);
  }
}

/** What a person would look at first when a task does not do what it should. */
async function scene(house: House, task: string): Promise<string> {
  const view = await taskOf(house, task);
  const screen = await house.get<{ text: string }>(`sessions/${view.session_id}/screen`).catch(String);
  const shown = typeof screen === 'string' ? screen : screen.text.trim();
  return [JSON.stringify(view, null, 1), shown, house.log().slice(-8_000)].join('\n');
}

export async function sessionOf(house: House, task: string): Promise<SessionView> {
  const { session_id: id } = await taskOf(house, task);
  return house.get<SessionView>(`sessions/${id}`);
}

/** Every artifact by its name, downloaded and held against what the list says of it. */
export async function artifacts(house: House, task: string): Promise<ReadonlyMap<string, Uint8Array>> {
  const { artifacts: listed } = await house.get<{ artifacts: ArtifactView[] }>(`tasks/${task}/artifacts`);
  const got = new Map<string, Uint8Array>();
  for (const { name, size_bytes: size, checksum } of listed) {
    const path = name.split('/').map(encodeURIComponent).join('/');
    const { bytes } = await house.bytes(`tasks/${task}/artifacts/${path}`);
    const sum = `sha256:${new Bun.CryptoHasher('sha256').update(bytes).digest('hex')}`;
    if (bytes.length !== size || sum !== checksum)
      throw new Error(`${name}: ${bytes.length} bytes, ${sum}; listed ${size}, ${checksum}`);
    got.set(name, bytes);
  }
  return got;
}

/** The patch that git itself makes of these changes, in a clone of its own. */
export function expectedPatch(
  dir: string,
  origin: string,
  files: Readonly<Record<string, string | Uint8Array>>,
): string {
  const clone = join(dir, 'expected');
  git(dir, 'clone', '-q', origin, clone);
  put(clone, files);
  git(clone, 'add', '-A');
  return git(clone, 'diff', '--cached', '--binary', '--full-index', '--no-renames', 'HEAD');
}
