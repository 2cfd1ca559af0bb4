/** What one transition costs in a fleet of a size, and what is looked up around it. */
import type { Fleet } from '../src/actors/fleet.ts';
import type { Told } from '../src/actors/port.ts';
import type { AgentId } from '../src/ids.ts';
import type { Journal } from '../src/journal.ts';
import { sessionsOf } from '../src/wiring/house.ts';
import { random } from '../tests/sim/random.ts';
import { plan } from './restore-fleet.ts';
import { heartbeat, quietLink, registrationOf, standing } from './restore-house.ts';
import { create, fleetOver } from './restore-world.ts';

/** Commands on their way at once, each to another session: there are as many in the smallest fleet. */
const AT_ONCE = 16;
/** Sessions that work while all others idle, the same number in every fleet. */
const FEW = 16;
const WARM_UP = 20_000;
const TRANSITIONS = 20_000;
const LOOKS = 20_000;
const LINKS = 1_000;

export interface Costs {
  readonly actors: number;
  /** Microseconds of each. */
  readonly children: number;
  readonly sessionsOf: number;
  readonly isLive: number;
  readonly heartbeat: number;
  /** A link that is lost and comes back: two transitions of the agent, one of its session. */
  readonly link: number;
  /** A session started, and ended again by its agent's word. */
  readonly session: number;
  /** One of a list of all sessions. */
  readonly listed: number;
}

const microseconds = (ms: number, count: number) => (ms * 1e3) / count;

async function timed(count: number, work: (i: number) => unknown): Promise<number> {
  const from = performance.now();
  for (let i = 0; i < count; i++) {
    const done = work(i);
    if (done instanceof Promise) await done;
  }
  return microseconds(performance.now() - from, count);
}

/** Microseconds of one transition: by the clock, and of processor time with the collector's threads. */
export interface Spent {
  readonly wall: number;
  readonly cpu: number;
}

export interface Stretch {
  /** To the same few sessions again and again, while all others idle. */
  readonly few: Spent;
  /**
   * To one session after the other, until each had its turn: hardly anything is in the processor's caches.
   */
  readonly all: Spent;
}

/** Commands to these in turn, so many at once; each is a transition, and durable when it counts as done. */
function sending(root: Fleet, ids: readonly string[]): (count: number) => Promise<Spent> {
  let at = 0;
  return async (count) => {
    const from = performance.now();
    const before = process.cpuUsage();
    for (let done = 0; done < count; done += AT_ONCE) {
      const type = (done / AT_ONCE) % 2 === 0 ? 'question.opened' : 'question.closed';
      const sent = Array.from({ length: AT_ONCE }, (_, i) => {
        const event = { type, at: done, hitl: `h${i}` } as Told;
        return root.send(ids[at++ % ids.length] as string, event);
      });
      await Promise.all(sent);
    }
    const { user, system } = process.cpuUsage(before);
    return { wall: microseconds(performance.now() - from, count), cpu: (user + system) / count };
  };
}

function shuffled<One>(all: readonly One[]): One[] {
  const pick = random(7);
  const left = [...all];
  return all.map(() => left.splice(pick(left.length), 1)[0] as One);
}

async function links({ house, listener }: ReturnType<typeof standing>, agents: readonly string[]) {
  const pick = random(3);
  const some = Array.from({ length: LINKS }, () => quietLink(agents[pick(agents.length)] as string));
  for (const link of some) await listener.connected(link, registrationOf(link.agent));
  const beat = await timed(LOOKS, (i) => {
    const link = some[i % some.length] as (typeof some)[number];
    listener.heartbeat(link, heartbeat(i));
  });
  const link = await timed(LINKS, async (i) => {
    const one = house.links.get(some[i]?.agent as AgentId);
    if (!one) throw new Error('a link is missing');
    listener.lost(one, 'bench');
    await listener.connected(one, registrationOf(one.agent));
  });
  return { beat, link };
}

/** Births and ends of sessions beside the others. */
function comings(root: Fleet, agents: readonly string[]): Promise<number> {
  const [, , ...others] = plan(100).roots;
  const model = others.find(({ kind }) => kind === 'session');
  if (!model) throw new Error('the plan has no session');
  return timed(LINKS, async (i) => {
    const agent = agents[i % agents.length];
    const id = `session:new-${i}`;
    const input = { ...(model.input as object), id: `new-${i}`, agent, adopted: true };
    await root.start({ ...model, id, input, parent: `agent:${agent}` }, i);
    await root.send(id, { type: 'session.exited', at: i, exitCode: 0, error: '', outputBytes: 0 } as Told);
  });
}

/**
 * Makes a fleet, and says `ready`; then runs a stretch of transitions for each line `stretch` that it is
 * given, so that fleets of several sizes can take turns. Any other line ends that.
 */
export async function costs(journal: Journal, count: number, dir: string): Promise<Costs> {
  const wanted = plan(count);
  const root = fleetOver(journal, 'mute');
  await create(root, wanted);
  const agents = wanted.agents;
  const sessions = shuffled(wanted.roots.filter(({ kind }) => kind === 'session').map(({ id }) => id));
  const [few, every] = [sending(root, sessions.slice(0, FEW)), sending(root, sessions)];
  await few(WARM_UP);
  await every(WARM_UP);
  process.stdout.write('"ready"\n');
  for await (const line of console) {
    if (line !== 'stretch') break;
    const stretch: Stretch = { few: await few(TRANSITIONS), all: await every(TRANSITIONS) };
    process.stdout.write(`${JSON.stringify(stretch)}\n`);
  }
  const house = standing(dir, journal, root);
  const pick = random(5);
  const anyone = () => agents[pick(agents.length)] as string;
  const all = root.views('session').length;
  const found: Omit<Costs, 'heartbeat' | 'link' | 'session'> = {
    actors: count,
    children: await timed(LOOKS, () => root.children(`agent:${anyone()}`)),
    sessionsOf: await timed(LOOKS, () => sessionsOf(house.house, anyone())),
    isLive: await timed(LOOKS, () => root.isLive(`agent:${anyone()}`)),
    listed: (await timed(10, () => root.views('session'))) / all,
  };
  const { beat, link } = await links(house, agents);
  const session = await comings(root, agents);
  await house.close();
  return { ...found, heartbeat: beat, link, session };
}
