/** What may happen in the house game, one random step at a time. */

import type { SessionId } from '../../src/ids.ts';
import { keysFor } from '../../src/terminal/asking-keys.ts';
import type { HitlView, InstanceView, TaskView } from '../../src/views.ts';
import { hitlDesk } from '../../src/wiring/hitl.ts';
import { instanceUse } from '../../src/wiring/instance-use.ts';
import { instanceDesk } from '../../src/wiring/instances.ts';
import { sessionDesk } from '../../src/wiring/sessions.ts';
import { taskDesk } from '../../src/wiring/task-desk.ts';
import type { Deed, FakeAgent } from './agents.ts';
import type { Game, HouseWorld, Server } from './house.ts';
import { relearn } from './house-invariants.ts';

const TASKS_MAX = 5;
const INSTANCES = ['box', 'den'] as const;

type Move = (game: Game, server: Server) => void | Promise<void>;

const oneOf = <T>({ w }: Game, from: readonly T[]): T | undefined => from[w.pick(Math.max(1, from.length))];

/** A door's promise: once it resolves, the entry is durable, or it was no promise. */
function promise({ w }: Game, call: Promise<unknown>, entry: () => { actor: string; type: string }): void {
  const { server } = w;
  call.then(
    () => {
      if (!server?.isAlive) return;
      const { actor, type } = entry();
      if (!w.ledger.has(actor, type)) w.found(`[S2] ${type} of ${actor} was promised and is not durable`);
    },
    (thrown) => {
      if ((thrown as { code?: string }).code === undefined) w.found(`[S5] a door met a bug: ${thrown}`);
    },
  );
}

export const desksOf = ({ house }: Server) => ({
  instances: instanceDesk(house, instanceUse(house)),
  sessions: sessionDesk(house),
  tasks: taskDesk(house, () => {
    throw new Error('nobody reads logs here');
  }),
  questions: hitlDesk(house, keysFor),
});

const programs = ({ w }: Game): { agent: FakeAgent; deed: Deed }[] =>
  w.agents.flatMap((agent) => agent.running.map(({ deed }) => ({ agent, deed })));

export function answer(game: Game, server: Server, hitl: string): void {
  const { w } = game;
  const by = w.next('person');
  const option = w.pick(2) === 0 ? 'yes' : 'no';
  const call = desksOf(server).questions.answer(hitl, { option }, by);
  promise(game, call, () => {
    game.answered.push({ hitl, by });
    return { actor: `hitl:${hitl}`, type: 'answer' };
  });
}

const open = (server: Server): HitlView[] =>
  [...desksOf(server).questions.list({ state: 'open' })].filter(({ state }) => state === 'open');

const manifest = (id: string, w: HouseWorld) => ({
  version: '1',
  kind: 'Task',
  metadata: { id, name: id },
  agent: { tool: 'command', command: 'work', ...(w.pick(3) === 0 ? { instance: INSTANCES[0] } : {}) },
  lifecycle: {
    timeout: '60s',
    retries: w.pick(3),
    retry_backoff: '1s',
    failure_action: w.pick(4) === 0 ? 'preserve' : 'destroy',
  },
});

export const moves: Readonly<Record<string, Move>> = {
  // ── People ──────────────────────────────────────────────────────────────
  submit(game, server) {
    const { w } = game;
    if (server.fleet.views('task').length >= TASKS_MAX) return;
    const id = w.next('t');
    promise(game, desksOf(server).tasks.submit(manifest(id, w), 'ada'), () => ({
      actor: `task:${id}`,
      type: 'born',
    }));
  },
  cancel(game, server) {
    const live = (server.fleet.views('task') as TaskView[]).filter(({ id }) =>
      server.fleet.isLive(`task:${id}`),
    );
    const task = oneOf(game, live);
    if (!task) return;
    const wasOver = task.state === 'COMPLETING';
    const call = desksOf(server).tasks.cancel(task.id, 'changed my mind', 'ada');
    promise(game, call, () => ({ actor: `task:${task.id}`, type: wasOver ? 'born' : 'cancel' }));
  },
  make(game, server) {
    const name = INSTANCES[game.w.pick(INSTANCES.length)] as string;
    const call = desksOf(server).instances.create({ name, runtime: 'host' }, 'ada');
    promise(game, call, () => ({ actor: `instance:${name}`, type: 'born' }));
  },
  manage(game, server) {
    const { instances } = desksOf(server);
    const instance = oneOf(game, instances.list() as InstanceView[]);
    if (!instance) return;
    const { name } = instance;
    const calls = {
      start: () => instances.start(name, 'ada'),
      stop: () => instances.stop(name, 1_000, 'ada'),
      restart: () => instances.restart(name, 1_000, 'ada'),
      reset: () => instances.reset(name, 'ada'),
      reprovision: () => instances.reprovision(name, 'ada'),
      destroy: () => instances.destroy(name, 'ada'),
    };
    const wish = oneOf(game, Object.values(calls));
    if (wish) promise(game, wish(), () => ({ actor: `instance:${name}`, type: 'born' }));
  },
  open(game, server) {
    const agent = oneOf(game, [...server.house.links.keys()]);
    if (!agent) return;
    const wanted = {
      command: 'bash',
      args: [],
      workingDir: null,
      name: game.w.next('terminal'),
      type: 'interactive' as const,
      env: {},
      cols: 80,
      rows: 24,
      timeoutSeconds: 0,
      stdin: 'open' as const,
    };
    desksOf(server)
      .sessions.create(agent, wanted, 'ada')
      .catch(() => {});
  },
  close(game, server) {
    const { sessions } = desksOf(server);
    const session = oneOf(game, sessions.list({ live: true }));
    if (session) sessions.signal(session.session_id, 'TERM', 'ada').catch(() => {});
  },
  answer(game, server) {
    const question = oneOf(game, open(server));
    if (!question) return;
    answer(game, server, question.hitl_id);
    // Two people, one question.
    if (game.w.pick(3) === 0) answer(game, server, question.hitl_id);
  },
  withdraw(game, server) {
    const question = oneOf(game, open(server));
    if (question)
      desksOf(server)
        .questions.withdraw(question.hitl_id, 'ada')
        .catch(() => {});
  },
  query(game, server) {
    const { sessions, questions } = desksOf(server);
    const session = oneOf(game, sessions.list({ live: true }));
    if (!session || session.state === 'starting') return;
    const wanted = {
      sessionId: session.session_id,
      prompt: 'Which one?',
      context: '',
      kind: 'choice' as const,
      options: [
        { id: 'yes', label: 'Yes' },
        { id: 'no', label: 'No' },
      ],
      expiresInMs: null,
    };
    const call = questions.ask(session.agent_id, wanted, 'ada');
    let asked = '';
    call.then(({ hitl_id }) => (asked = hitl_id)).catch(() => {});
    promise(game, call, () => ({ actor: `hitl:${asked}`, type: 'born' }));
  },

  // ── Programs ────────────────────────────────────────────────────────────
  say(game) {
    const at = oneOf(game, programs(game));
    at?.agent.say(at.deed.session, `<${game.w.next('')}>`);
  },
  wonder(game) {
    const at = oneOf(game, programs(game));
    at?.agent.ask(at.deed.session);
  },
  exit(game) {
    const at = oneOf(game, programs(game));
    at?.agent.exit(at.deed.session, game.w.pick(3) === 0 ? 1 : 0);
  },
  /** While it was away, an agent was told by somebody else to start a session. */
  stray(game) {
    const { w } = game;
    const agent = oneOf(game, w.agents);
    if (!agent) return;
    w.linkOf(agent)?.over('cut');
    agent.stray(w.next('x') as SessionId);
  },
  /** A program ends, its agent says so, and the server is killed before that is durable. */
  async doom(game, server) {
    const at = oneOf(game, programs(game));
    if (!at) return;
    at.agent.exit(at.deed.session, 0);
    const link = game.w.linkOf(at.agent);
    for (let left = 10; link?.canUp && left > 0; left--) game.w.crankUp(link);
    for (let left = 10; link?.canDown && left > 0; left--) game.w.crankDown(link);
    await moves['kill']?.(game, server);
  },

  // ── Links and agents ────────────────────────────────────────────────────
  async crank(game) {
    const { w } = game;
    for (let left = 1 + w.pick(6); left > 0; left--) {
      const ways = [...w.links].flatMap((link) => [
        ...(link.canUp ? [() => w.crankUp(link)] : []),
        ...(link.canDown ? [() => w.crankDown(link)] : []),
      ]);
      oneOf(game, ways)?.();
      await w.drain(1);
    }
  },
  connect(game) {
    const away = game.w.agents.filter((agent) => game.w.linkOf(agent) === null);
    const agent = oneOf(game, away);
    if (agent) game.w.connect(agent);
  },
  /** The same agent comes again before its loss is known. */
  again(game) {
    const agent = oneOf(game, game.w.agents);
    if (agent) game.w.connect(agent);
  },
  cut(game) {
    const { w } = game;
    const link = oneOf(game, [...w.links]);
    if (!link || link.isGone) return;
    if (w.pick(2) === 0) return link.over('cut');
    link.cut();
    // Nothing comes any more, and the server learns of it when its patience is over.
    w.clock.setTimeout(() => link.over('nothing was heard of it'), 500 + w.pick(20_000));
  },
  /** What the server said arrives, and the answer to it is lost. */
  async snap(game) {
    const { w } = game;
    const ready = [...w.links].filter(({ canDown }) => canDown);
    const typing = ready.filter(({ down }) => down.some(({ tell }) => tell === 'type'));
    const link = oneOf(game, typing.length > 0 ? typing : ready);
    if (!link) return;
    for (let left = 1 + w.pick(3); left > 0; left--) w.crankDown(link);
    link.over('cut');
  },
  crash(game) {
    const { w } = game;
    const agent = oneOf(game, w.agents);
    if (agent) w.runtimes.end(agent.name, w.pick(2) === 0 ? null : 1);
  },

  // ── Time, journal, server ───────────────────────────────────────────────
  wait: ({ w }) => w.advance(w.pick(1_500)),
  idle: ({ w }) => w.advance(5_000 + w.pick(30_000)),
  settle: ({ w }) => w.drain(),
  away({ w }) {
    w.journal.knobs.away = w.journal.knobs.away ? null : 'unplugged';
  },
  slow({ w }) {
    const { knobs } = w.journal;
    const wait = () => new Promise<void>((resolve) => w.clock.setTimeout(resolve, 1 + w.pick(800)));
    const isSlow = knobs.beforeWrite !== null || knobs.beforeAck !== null;
    knobs.beforeWrite = isSlow || w.pick(2) === 0 ? null : wait;
    knobs.beforeAck = isSlow || w.pick(2) === 0 ? null : wait;
  },
  async kill(game) {
    const { w } = game;
    w.kill(w.pick(2) === 0 ? 'kept' : 'lost');
    const wrong = await relearn(game);
    if (wrong) w.found(wrong);
    // Agents go on while nobody listens.
    if (w.pick(2) === 0) await w.advance(w.pick(10_000));
    await w.boot();
    // What had its time meanwhile happens at once.
    await w.advance(0);
  },
  bug({ w }) {
    if (w.pick(3) === 0) w.bugs = 1;
  },
};

/** Work goes on most of the time; catastrophes are for spice. */
export const usual: readonly string[] = [
  'submit',
  'crank',
  'crank',
  'crank',
  'crank',
  'crank',
  'connect',
  'connect',
  'say',
  'say',
  'wonder',
  'wonder',
  'exit',
  'answer',
  'answer',
  'query',
  'snap',
  'stray',
  'wait',
  'wait',
  'wait',
  'settle',
];

/** So a schedule begins: what follows finds something to do. */
export const prelude: readonly string[] = [
  'make',
  'wait',
  'crank',
  'submit',
  'submit',
  'wait',
  'crank',
  'crank',
  'wait',
  'crank',
  'wonder',
];
