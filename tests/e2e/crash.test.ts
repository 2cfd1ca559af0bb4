/** What a person sees when an agent client dies, and right after the server has come back. */
import { Database } from 'bun:sqlite';
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { cpSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../src/clock.ts';
import { sqliteJournal } from '../../src/journal/sqlite.ts';
import type { HitlView, InstanceView, SessionView, TaskView } from '../../src/views.ts';
import { question, taskOf } from './ground.ts';
import { type House, openHouse, root, until } from './house.ts';

let house: House;
beforeAll(async () => {
  house = await openHouse('crash');
}, 60_000);
afterAll(() => house?.close(), 30_000);

async function submit(name: string, line: string): Promise<string> {
  const task = await house.post<{ task_id: string }>('tasks', {
    version: '1',
    kind: 'Task',
    metadata: { name },
    agent: { tool: 'command', command: 'bash', args: ['-c', line] },
  });
  return task.task_id;
}

const reached = (id: string, ...states: readonly string[]): Promise<TaskView> =>
  until(`task ${id} to be ${states.join(' or ')}`, async () => {
    const task = await taskOf(house, id);
    return states.includes(task.state) ? task : null;
  });

/** Processes whose environment has all of these lines. */
function processes(...lines: readonly string[]): number[] {
  return readdirSync('/proc').flatMap((name) => {
    try {
      const environment = readFileSync(`/proc/${name}/environ`, 'latin1').split('\0');
      return lines.every((line) => environment.includes(line)) ? [Number(name)] : [];
    } catch {
      return []; // No process, or gone.
    }
  });
}

/** It leads its session: of an agent, the holder. */
const leads = (pid: number): boolean =>
  readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ').at(-1)?.split(' ')[3] === `${pid}`;

const names = async (): Promise<string[]> =>
  (await house.get<{ instances: InstanceView[] }>('instances')).instances.map(({ name }) => name);

test('[E8] an agent that is killed takes what ran with it along, and its task says why', async () => {
  const id = await submit('Long', 'sleep 600; echo never');
  await reached(id, 'RUNNING');
  const working = await until('the command to run', () => {
    const found = processes(`AGENTIC_TASK_ID=${id}`);
    return found.length > 0 ? found : null;
  });
  const agent = processes('AGENT_ID=local', `HOME=${house.dataDir}/instances/local/home`).find(leads);
  process.kill(agent as number, 'SIGKILL');
  const task = await reached(id, 'FAILED', 'COMPLETED');
  expect(task.state).toBe('FAILED');
  expect(task.error).toMatch(/agent local was lost|ended by SIGKILL|unknown code/);
  await until('the command to be gone', () => processes(`AGENTIC_TASK_ID=${id}`).length === 0);
  expect(working.length).toBeGreaterThan(0);
  await reached(await submit('Next', 'echo next'), 'COMPLETED');
  expect(await names()).toEqual(['local']);
}, 60_000);

test('[E8] a task that is submitted right after a restart runs on the instance that is there', async () => {
  for (let round = 0; round < 2; round++) {
    await house.kill9();
    await house.start();
    await reached(await submit(`Round ${round}`, 'echo again'), 'COMPLETED');
  }
  expect(await names()).toEqual(['local']);
}, 90_000);

test('[E3] a question for a secret is the same question after kill -9, and its answer is typed', async () => {
  const line = 'read -rsp "Who goes there: " t; echo; echo "got" $(printf %s "$t" | wc -c)';
  const { task_id: id } = await house.post<{ task_id: string }>('tasks', {
    version: '1',
    kind: 'Task',
    metadata: { name: 'Asks' },
    agent: { tool: 'command', mode: 'interactive', command: 'bash', args: ['-c', line] },
  });
  const before = await question(house, id);
  expect(before).toMatchObject({ kind: 'secret', state: 'open' });
  await house.kill9();
  await house.start();
  const { session_id: session } = before;
  await until('the terminal is live again', async () => {
    const { state } = await house.get<SessionView>(`sessions/${session}`);
    return state === 'live';
  });
  await house.post(`hitl/${before.hitl_id}/respond`, { text: 'eight888' });
  await reached(id, 'COMPLETED');
  const { requests: all } = await house.get<{ requests: HitlView[] }>('hitl?state=all');
  const own = all.filter(({ task_id: task }) => task === id);
  expect(own.map((one) => [one.hitl_id, one.state])).toEqual([[before.hitl_id, 'answered']]);
  const { bytes } = await house.bytes(`sessions/${session}/output`);
  expect(Buffer.from(bytes).toString()).toContain('got 8');
}, 60_000);

interface Verdict {
  readonly actors: number;
  readonly live: number;
  readonly archived: number;
  readonly entries: number;
  readonly differences: readonly { readonly actor: string; readonly path: string }[];
}

function verify(dataDir: string): { readonly code: number; readonly verdict: Verdict } {
  const script = join(root, 'scripts', 'actor-verify.ts');
  const env = { PATH: process.env['PATH'] ?? '', AGENTIC_DATA_DIR: dataDir };
  const { exitCode, stdout } = Bun.spawnSync([process.execPath, script, '--json'], { env });
  return { code: exitCode, verdict: JSON.parse(stdout.toString()) };
}

test('[S17] a task that was archived is found by its id, whole, with what it said', async () => {
  const id = await submit('Archived', 'echo remember me');
  const before = await reached(id, 'COMPLETED');
  await house.kill9();
  const journal = await sqliteJournal({ path: join(house.dataDir, 'journal.db'), clock: systemClock });
  const ended = await journal.expired(Date.now() + 60_000, 1_000);
  expect(await journal.archive(ended)).toBeGreaterThan(4);
  await journal.close();
  await house.start();
  const { tasks } = await house.get<{ tasks: TaskView[] }>('tasks');
  expect(tasks).toEqual([]);
  expect(await house.get<TaskView>(`tasks/${id}`)).toEqual(before);
  const session = before.session_id as string;
  const { bytes } = await house.bytes(`sessions/${session}/output`);
  expect(Buffer.from(bytes).toString()).toContain('remember me');
  const actor = await house.get<{ archived: boolean; seq: number }>(`actors/task:${id}`);
  expect(actor.archived).toBeTrue();
  const first = await house.get<{ entry: { type: string } }>(`actors/task:${id}/at/1`);
  expect(first.entry.type).toBe('born');
  const listed = await house.get<{ actors: { id: string }[] }>('actors?archived=true&kind=task');
  expect(listed.actors.map((one) => one.id)).toContain(`task:${id}`);
}, 60_000);

test('[E9] every actor is what its entries say, and what was changed by hand is found', async () => {
  const { code, verdict } = verify(house.dataDir);
  expect(verdict.differences).toEqual([]);
  expect(code).toBe(0);
  // Instance and agent live; six tasks, their sessions and a question have ended, and were archived.
  expect([verdict.live, verdict.archived, verdict.actors]).toEqual([2, 13, 15]);
  expect(verdict.entries).toBeGreaterThan(verdict.actors);
  const copy = join(house.dir, 'copy');
  cpSync(house.dataDir, copy, { recursive: true, filter: (path) => !path.includes('agent') });
  const db = new Database(join(copy, 'journal.db'));
  db.run(
    `UPDATE actor SET snapshot = json_set(snapshot, '$.value', 'stopped') WHERE actor = 'instance:local'`,
  );
  db.close();
  const spoilt = verify(copy);
  expect(spoilt.code).toBe(1);
  expect(spoilt.verdict.differences).toMatchObject([{ actor: 'instance:local', path: 'value' }]);
}, 30_000);
