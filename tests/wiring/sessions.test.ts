/** What becomes of sessions when agents come and go. */
import { afterEach, expect, test } from 'bun:test';
import { Failure } from '../../src/failure.ts';
import type { SessionId } from '../../src/ids.ts';
import type { SessionView } from '../../src/views.ts';
import { loseSession } from '../../src/wiring/presence.ts';
import { sessionDesk } from '../../src/wiring/sessions.ts';
import { type HandLink, type Rig, reported, rig } from './rig.ts';

let on: Rig;
afterEach(() => on.remove());

const wanted = {
  command: 'bash',
  args: [],
  workingDir: null,
  name: 'work',
  type: 'interactive' as const,
  env: {},
  cols: 80,
  rows: 24,
  timeoutSeconds: 0,
  stdin: 'open' as const,
};
const view = (id: string) => on.house.fleet.view(`session:${id}`) as SessionView;
const said = (link: HandLink, session: SessionId, text: string, offset: number) =>
  on.listener.output(link, session, { stream: 'stdout', bytes: Buffer.from(text), offset });

async function started(link: HandLink): Promise<SessionId> {
  const { session_id: id } = await sessionDesk(on.house).create(link.agent, wanted, 'ada');
  return id as SessionId;
}

test('[N3] after a reconnect a session goes on from the byte that is recorded here', async () => {
  on = await rig();
  const first = await on.connect('box');
  const id = await started(first);
  said(first, id, 'hello ', 0);
  on.listener.lost(first, 'cut');
  expect(view(id).state).toBe('detached');
  const second = await on.connect('box');
  await on.listener.reported(second, [reported(id, { spool: { first: 0, next: 11 } })]);
  expect(second.acks).toContainEqual({ session: id, offset: 6, resume: true });
  expect(view(id).state).toBe('live');
  // It sends from before what is held: the rest is taken once.
  said(second, id, 'lo world', 3);
  expect(Buffer.from((await on.house.terminals.find(id)?.read(0, 100))?.bytes ?? []).toString()).toBe(
    'hello world',
  );
});

test('[N3] also after a restart of the server', async () => {
  on = await rig();
  const id = await started(await on.connect('box'));
  said(on.house.links.get('box' as never) as HandLink, id, 'before the crash', 0);
  on = await on.crash();
  expect(view(id).state).toBe('detached');
  const link = await on.connect('box');
  await on.listener.reported(link, [reported(id)]);
  expect(link.acks).toContainEqual({ session: id, offset: 16, resume: true });
  expect(view(id).state).toBe('live');
});

test('[N4] a session that the server does not know is adopted, not killed', async () => {
  on = await rig();
  const link = await on.connect('box');
  await on.listener.reported(link, [reported('s-unknown', { name: 'mine', command: 'vim' })]);
  expect(view('s-unknown')).toMatchObject({
    state: 'live',
    agent_id: 'box',
    session_name: 'mine',
    command: 'vim',
  });
  expect(link.killed).toEqual([]);
  expect(link.acks).toContainEqual({ session: 's-unknown', offset: 0, resume: true });
});

test('[N4] an operator may have such sessions ended instead', async () => {
  on = await rig(undefined, undefined, { AGENTIC_UNKNOWN_SESSIONS: 'end' });
  const link = await on.connect('box');
  await on.listener.reported(link, [reported('s-unknown')]);
  expect(view('s-unknown')).toBeNull();
  expect(link.killed).toEqual(['s-unknown']);
});

test('[N8] what was decided about sessions that only one side knew is in the log of their agent', async () => {
  on = await rig();
  const first = await on.connect('box');
  const [over, gone] = [await started(first), 's-gone'];
  await on.house.fleet.send(`session:${over}`, {
    type: 'session.exited',
    at: 1,
    exitCode: 0,
    error: '',
    outputBytes: 0,
  } as never);
  await on.listener.reported(first, [reported(gone), reported(over)]);
  const second = await on.connect('box');
  await on.listener.reported(second, []);
  await on.pass(5_000);
  await on.settle();
  const entries = await on.journal.history('agent:box', 1, 100);
  const settled = entries.map(({ event }) => event).filter(({ type }) => type === 'sessions.settled');
  expect(settled).toMatchObject([
    { adopted: [gone], ended: [over], lost: [] },
    { adopted: [], ended: [], lost: [gone] },
  ]);
});

test('a session that is over here and still runs there is ended there', async () => {
  on = await rig();
  const link = await on.connect('box');
  const id = await started(link);
  await on.listener.result(link, { session: id, exitCode: 0, error: '', durationMs: 1, outputBytes: 0 });
  expect(link.results).toEqual([id]);
  await on.listener.reported(link, [reported(id)]);
  expect(link.killed).toEqual([id]);
});

test('[N5] a session that its agent does not report any more is lost after a grace, and says why', async () => {
  on = await rig();
  const first = await on.connect('box');
  const id = await started(first);
  on.listener.lost(first, 'cut');
  const second = await on.connect('box');
  await on.listener.reported(second, []);
  await on.pass(4_000);
  expect(view(id).state).toBe('detached');
  await on.pass(2_000);
  expect(view(id)).toMatchObject({ state: 'lost', reason: 'its agent came back without it' });
});

test('[N5] a session that is being started while its agent reports is not missing', async () => {
  on = await rig();
  const link = await on.connect('box');
  const launching = Promise.withResolvers<void>();
  link.launch = () => launching.promise;
  const made = sessionDesk(on.house).create('box', wanted, 'ada');
  await on.settle();
  await on.listener.reported(link, []);
  launching.resolve();
  const { session_id: id } = await made;
  await on.pass(10_000);
  expect(view(id).state).toBe('live');
});

test('what a session said is known after its terminal was let go', async () => {
  on = await rig();
  const link = await on.connect('box');
  const id = await started(link);
  said(link, id, 'seven b', 0);
  await on.listener.result(link, { session: id, exitCode: 0, error: '', durationMs: 1, outputBytes: 7 });
  await on.pass(60_000);
  expect(on.house.terminals.find(id)).toBeNull();
  expect(sessionDesk(on.house).find(id)?.output_bytes).toBe(7);
});

test('[N5] a session whose result comes within the grace is not lost', async () => {
  on = await rig();
  const first = await on.connect('box');
  const id = await started(first);
  on.listener.lost(first, 'cut');
  const second = await on.connect('box');
  await on.listener.reported(second, []);
  await on.listener.result(second, { session: id, exitCode: 7, error: '', durationMs: 1, outputBytes: 0 });
  await on.pass(10_000);
  expect(view(id)).toMatchObject({ state: 'exited', exit_code: 7 });
});

test('[N6] an agent speaks for its own sessions only', async () => {
  on = await rig();
  const id = await started(await on.connect('box'));
  const other = await on.connect('other');
  said(other, id, 'forged', 0);
  await on.listener.result(other, { session: id, exitCode: 0, error: '', durationMs: 1, outputBytes: 6 });
  await on.listener.reported(other, [reported(id)]);
  expect(on.house.terminals.find(id)?.nextOffset()).toBe(0);
  expect(view(id)).toMatchObject({ state: 'live', agent_id: 'box' });
  expect(other.acks).toEqual([]);
});

test('a result waits for the output that was announced with it', async () => {
  on = await rig();
  const link = await on.connect('box');
  const id = await started(link);
  await on.listener.result(link, { session: id, exitCode: 0, error: '', durationMs: 1, outputBytes: 4 });
  expect(view(id).state).toBe('live');
  said(link, id, 'late', 0);
  await on.settle();
  expect(view(id).state).toBe('exited');
  expect(link.results).toEqual([id]);
});

test('a newer link takes the place of an older one, whose loss changes nothing', async () => {
  on = await rig();
  const first = await on.connect('box');
  const second = await on.connect('box');
  on.listener.lost(first, 'superseded');
  expect(on.house.links.get('box' as never)).toBe(second);
  expect(on.house.fleet.view('agent:box')).toMatchObject({ state: 'ready' });
});

test('[N7] a launch whose link is lost before its agent has answered goes over the next one', async () => {
  on = await rig();
  const first = await on.connect('box');
  const cut = Promise.withResolvers<void>();
  first.launch = () => cut.promise;
  const made = started(first);
  await on.settle();
  on.listener.lost(first, 'cut');
  cut.reject(new Failure('agent-gone', 'the link was lost'));
  await on.settle();
  const second = await on.connect('box');
  await on.pass(100);
  const id = await made;
  expect(second.launches.map(({ session }) => session)).toEqual([id]);
  expect(view(id).state).toBe('live');
});

test('[N9] terminals of many sessions are opened in turns after a restart, and sooner when they are needed', async () => {
  on = await rig();
  const first = await on.connect('box');
  const ids: SessionId[] = [];
  for (let i = 0; i < 70; i++) {
    const wish = { ...wanted, name: `work-${i}`, type: 'headless' as const };
    const { session_id } = await sessionDesk(on.house).create('box', wish, 'ada');
    ids.push(session_id as SessionId);
    said(first, session_id as SessionId, 'seven b', 0);
  }
  on = await on.crash();
  const { terminals } = on.house;
  const waiting = ids.filter((id) => terminals.find(id) === null);
  expect(waiting.length).toBeGreaterThan(3);
  expect(waiting.length).toBeLessThan(70);
  const [looked, ended, missing] = waiting as [SessionId, SessionId, SessionId];
  // Somebody looks at one.
  const terminal = await sessionDesk(on.house).terminal(looked);
  expect(Buffer.from((await terminal?.read(0, 100))?.bytes ?? []).toString()).toBe('seven b');
  // The result of one comes before its report, and one is lost with its instance.
  const link = await on.connect('box');
  await on.listener.result(link, { session: ended, exitCode: 0, error: '', durationMs: 1, outputBytes: 7 });
  expect(view(ended)).toMatchObject({ state: 'exited', output_bytes: 7 });
  loseSession(on.house, missing, 'its instance was stopped');
  expect(view(missing)).toMatchObject({ state: 'lost', output_bytes: 7 });
  // The others follow by themselves.
  for (let i = 0; i < 4; i++) await on.pass(1);
  const live = ids.filter((id) => on.house.fleet.isLive(`session:${id}`));
  expect(live.length).toBe(68);
  for (const id of live) expect(terminals.find(id)?.nextOffset()).toBe(7);
});
