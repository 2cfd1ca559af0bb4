/**
 * `bun run torture --rounds N --journal sqlite|redis [--seed S] [--keep]`
 *
 * Kills the real server under load, again and again, and Redis, and the network sides and the connections of
 * its agents; after each round it looks whether everything that was acknowledged is there. The last line is
 * one JSON object.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type RedisServer, redisServer } from '../tests/journal/redis-server.ts';
import { random } from '../tests/sim/random.ts';
import { readWords, wholeNumber, wrongUse } from './arguments.ts';
import { answerAll, type Book, cancelTheRest, load, newBook, WORKERS } from './torture/load.ts';
import { readOn, type Stream, startStreams } from './torture/streams.ts';
import { victim as makeVictim, type Victim } from './torture/victim.ts';

const usage = `Usage: bun run torture [--rounds 10] [--journal sqlite|redis] [--seed N] [--keep]

Kills the server, Redis, the agents' network sides and their connections under load, and looks after each round
whether everything that was acknowledged is there. --keep leaves the directory. Exits with 1 when something was lost,
with 64 for a mistake in the arguments.
`;

const { values: wanted } = readWords(usage, () =>
  parseArgs({
    options: {
      rounds: { type: 'string', default: '10' },
      journal: { type: 'string', default: 'sqlite' },
      seed: { type: 'string', default: `${Math.floor(Math.random() * 2 ** 31)}` },
      keep: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  }),
);
const rounds = wholeNumber(usage, { name: 'rounds', text: wanted.rounds, least: 1 });
const seed = wholeNumber(usage, { name: 'seed', text: wanted.seed, least: 0 });
if (!['sqlite', 'redis'].includes(wanted.journal)) {
  wrongUse(usage, `--journal ${JSON.stringify(wanted.journal)} is none; there are sqlite and redis`);
}

/** How long one round's load lasts, before and at random beyond. */
const ROUND_MS = 700;
const ROUND_MORE_MS = 1_800;
/** Everything that was begun must have ended by then. */
const DRAIN_MS = 120_000;
const READY_MS = 30_000;
const STREAMS = 'streams';

interface Kills {
  server: number;
  redis: number;
  links: number;
  /** Network sides of agents. */
  clients: number;
}

interface Trial {
  readonly victim: Victim;
  readonly redis: RedisServer | null;
  readonly book: Book;
  readonly pick: (below: number) => number;
  readonly kills: Kills;
  readonly failures: string[];
}

const say = (line: string) => void process.stderr.write(`${line}\n`);

/** Ends things in an order that chance chooses, and starts them again. */
async function kill({ victim, redis, pick, kills }: Trial): Promise<void> {
  const redisDies = redis !== null && pick(3) === 0;
  const serverDies = !redisDies || pick(2) === 0;
  if (pick(3) === 0) {
    kills.links += 1;
    victim.cutLinks();
    await Bun.sleep(pick(60));
  }
  if (kills.clients === 0 || pick(2) === 0) {
    kills.clients += victim.killClients();
    await Bun.sleep(pick(400));
  }
  if (serverDies) {
    kills.server += 1;
    await victim.kill();
    if (pick(3) === 0) kills.clients += victim.killClients();
  }
  if (redisDies) {
    kills.redis += 1;
    await redis.kill();
    await Bun.sleep(pick(300));
    await redis.start();
  }
  if (serverDies) await victim.start();
}

async function ready(victim: Victim): Promise<void> {
  for (const end = Date.now() + READY_MS; ; await Bun.sleep(50)) {
    const health = await victim.call('GET', 'health/ready');
    const agents = await victim.call('GET', 'agents');
    const list = (agents?.body as { agents?: { id: string; state: string }[] } | undefined)?.agents ?? [];
    const there = list.filter(({ state }) => state === 'ready' || state === 'busy').map(({ id }) => id);
    if (health?.status === 200 && [...WORKERS, STREAMS].every((name) => there.includes(name))) return;
    if (Date.now() > end)
      throw new Error(`not ready again within ${READY_MS} ms:\n${victim.log().slice(-4_000)}`);
  }
}

/** What must be true after every round. */
async function check({ victim, book, failures }: Trial, streams: readonly Stream[]): Promise<void> {
  for (const id of book.tasks.keys()) {
    const found = await victim.call('GET', `tasks/${id}`);
    if (found?.status !== 200)
      failures.push(`task ${id} was acknowledged and is not there (${found?.status})`);
  }
  for (const id of book.answers) {
    const found = await victim.call('GET', `hitl/${id}`);
    const state = (found?.body as { state?: string } | undefined)?.state;
    if (state !== 'answering' && state !== 'answered')
      failures.push(`answer to ${id} is lost: it is ${state}`);
  }
  for (const stream of streams) {
    const wrong = await readOn(victim, stream);
    if (wrong) failures.push(wrong);
  }
  const { code, text } = victim.verify();
  if (code !== 0) failures.push(`actor:verify: ${text}`);
}

/** Waits until every task has ended as it must. */
async function drain({ victim, book, failures }: Trial): Promise<void> {
  const open = new Map(book.tasks);
  for (const end = Date.now() + DRAIN_MS; open.size > 0 && Date.now() < end; await Bun.sleep(200)) {
    await answerAll(victim, book);
    await cancelTheRest(victim, '');
    for (const [id, wanted] of open) {
      const found = await victim.call('GET', `tasks/${id}`);
      const { state, error } = (found?.body ?? {}) as { state?: string; error?: string };
      if (!['COMPLETED', 'FAILED', 'CANCELLED', 'FAILED_PRESERVED'].includes(state ?? '')) continue;
      open.delete(id);
      if (state !== wanted) failures.push(`task ${id} is ${state} and should be ${wanted}: ${error ?? ''}`);
    }
  }
  for (const id of open.keys()) failures.push(`task ${id} has not ended`);
}

/** Each question was answered once, and its answer typed once. */
async function checkAnswers({ victim, book, failures }: Trial): Promise<number> {
  let checked = 0;
  for (const id of book.tasks.keys()) {
    const found = await victim.call('GET', `tasks/${id}`);
    const { name = '' } = (found?.body ?? {}) as { name?: string };
    if (!name.startsWith('asking')) continue;
    const answer = await victim.bytes(`tasks/${id}/artifacts/answer.txt`);
    const text = answer && Buffer.from(answer).toString();
    checked += 1;
    if (text !== 'y::') failures.push(`task ${id} read ${JSON.stringify(text)} and not one answer`);
  }
  return checked;
}

async function main(): Promise<number> {
  say(`seed ${seed}`);
  const dir = mkdtempSync(join(tmpdir(), 'torture-'));
  const redis = wanted.journal === 'redis' ? await redisServer() : null;
  const victim = makeVictim(dir, redis ? { REDIS_URL: `unix://${redis.path}` } : {});
  const kills: Kills = { server: 0, redis: 0, links: 0, clients: 0 };
  const trial: Trial = { victim, redis, book: newBook(), pick: random(seed), kills, failures: [] };
  const startedAt = Date.now();
  try {
    await victim.start();
    for (const name of [...WORKERS, STREAMS]) await victim.call('POST', 'instances', { name });
    await ready(victim);
    const streams = await startStreams(victim, STREAMS);
    for (let round = 1; round <= rounds && trial.failures.length === 0; round++) {
      let isOver = false;
      const { book, pick } = trial;
      const working = load({ victim, book, pick, prefix: `r${round}`, isOver: () => isOver });
      await Bun.sleep(ROUND_MS + pick(ROUND_MORE_MS));
      await kill(trial);
      isOver = true;
      await working;
      await ready(victim);
      await check(trial, streams);
      await cancelTheRest(victim, `r${round}-`);
      say(`round ${round}: ${book.tasks.size} tasks, ${book.answers.size} answers, ${kills.server} kills`);
    }
    await drain(trial);
    const typed = await checkAnswers(trial);
    await check(trial, streams);
    const { book, failures } = trial;
    const bytes = streams.reduce((sum, { offset }) => sum + offset, 0);
    for (const failure of failures) say(`LOST  ${failure}`);
    const figures = { tasks: book.tasks.size, answers: book.answers.size, typed, bytes, ...book.counts };
    const seconds = Math.round((Date.now() - startedAt) / 1_000);
    const verify = victim.verify().text;
    const { journal } = wanted;
    console.log(JSON.stringify({ journal, seed, rounds, kills, ...figures, verify, seconds, failures }));
    if (failures.length > 0 && wanted.keep) say(victim.log().slice(-20_000));
    return failures.length === 0 ? 0 : 1;
  } finally {
    await victim.close();
    await redis?.close();
    if (wanted.keep) say(`kept: ${dir}`);
    else rmSync(dir, { recursive: true, force: true });
  }
}

process.exit(await main());
