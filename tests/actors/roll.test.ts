/** What the fleet lists of a family and of a kind is what a search through all actors would find. */
import { expect, test } from 'bun:test';
import type { ChildSpec, Told } from '../../src/actors/port.ts';
import { Roll } from '../../src/actors/roll.ts';
import type { ActorKind } from '../../src/journal.ts';
import { random } from '../sim/random.ts';
import { sessionInput } from './inputs.ts';
import { type World, world } from './world.ts';

const kinds: readonly ActorKind[] = ['session', 'hitl', 'task'];
const spec = (id: string, parent: string | null): ChildSpec => ({
  id,
  kind: id.split(':')[0] as ActorKind,
  input: { ...sessionInput, id, task: null, adopted: true },
  restart: 'on-failure',
  graceMs: 1_000,
  parent,
});

const exited = { type: 'session.exited', at: 300, exitCode: 0, error: '', outputBytes: 0 } as Told;
const childrenOf = ({ fleet }: World, parent: string) => fleet.children(parent).map(({ id }) => id);
const sessions = ({ fleet }: World) =>
  (fleet.views('session') as { session_id: string; state: string }[]).map(
    ({ session_id, state }) => `${session_id} ${state}`,
  );

test('[S18] children are listed right after births, ends, restores and names used again', async () => {
  let w = world();
  const start = (id: string, parent: string | null) => w.fleet.start(spec(`session:${id}`, parent), 100);
  await start('a', 'agent:one');
  await start('b', 'agent:one');
  await start('c', 'agent:two');
  await start('d', null);
  expect(childrenOf(w, 'agent:one')).toEqual(['session:a', 'session:b']);
  expect(childrenOf(w, 'agent:nobody')).toEqual([]);
  await w.fleet.send('session:a', exited);
  expect(childrenOf(w, 'agent:one')).toEqual(['session:b']);
  w = await w.crash();
  expect([childrenOf(w, 'agent:one'), childrenOf(w, 'agent:two')]).toEqual([['session:b'], ['session:c']]);
  // The name of one that ended, under another parent.
  await start('a', 'agent:two');
  expect(childrenOf(w, 'agent:one')).toEqual(['session:b']);
  expect(childrenOf(w, 'agent:two')).toEqual(['session:c', 'session:a']);
  await w.fleet.send('session:b', exited);
  await w.fleet.send('session:c', exited);
  expect([childrenOf(w, 'agent:one'), childrenOf(w, 'agent:two')]).toEqual([[], ['session:a']]);
  w = await w.crash();
  expect([childrenOf(w, 'agent:one'), childrenOf(w, 'agent:two')]).toEqual([[], ['session:a']]);
  expect(sessions(w).toSorted()).toEqual([
    'session:a live',
    'session:b exited',
    'session:c exited',
    'session:d live',
  ]);
  expect(w.fleet.views('hitl')).toEqual([]);
});

test('[S18] an actor that was given up is nobody’s child any more', async () => {
  const w = world();
  await w.fleet.start({ ...spec('session:s', 'agent:one'), restart: 'never', input: sessionInput }, 100);
  await w.settle();
  expect(childrenOf(w, 'agent:one')).toEqual(['session:s']);
  await w.asked[0]?.fail(new TypeError('x is undefined'));
  expect(w.fleet.isLive('session:s')).toBe(false);
  expect(childrenOf(w, 'agent:one')).toEqual([]);
});

test('[S18] whatever comes and goes, in whatever order, the roll finds what a search finds', () => {
  for (let seed = 1; seed <= 50; seed++) {
    const pick = random(seed);
    const roll = new Roll<{ spec: ChildSpec; live: boolean }>();
    const known = new Map<string, { spec: ChildSpec; live: boolean }>();
    const ends: string[] = [];
    for (let step = 0; step < 200; step++) {
      const id = `${kinds[pick(kinds.length)]}:${pick(12)}`;
      const found = known.get(id);
      if (!found?.live) {
        const actor = { spec: spec(id, pick(4) === 0 ? null : `agent:${pick(3)}`), live: pick(5) > 0 };
        if (found) ends.splice(ends.indexOf(id), 1);
        roll.enter(actor);
        known.set(id, actor);
        if (!actor.live) ends.push(id);
      } else {
        found.live = false;
        roll.end(found);
        ends.push(id);
      }
      for (const kind of kinds) {
        const ended = ends.filter((one) => one.startsWith(kind));
        const surplus = roll.surplus(kind, 3);
        expect(surplus?.spec.id ?? null).toBe(ended.length > 3 ? (ended[0] as string) : null);
        if (surplus) {
          roll.forget(surplus);
          known.delete(surplus.spec.id);
          ends.splice(ends.indexOf(surplus.spec.id), 1);
        }
      }
      const all = [...known.values()];
      expect(new Set(roll.all())).toEqual(new Set(all));
      for (const kind of kinds)
        expect(new Set(roll.ofKind(kind))).toEqual(new Set(all.filter((a) => a.spec.kind === kind)));
      for (const parent of ['agent:0', 'agent:1', 'agent:2']) {
        const children = all.filter((a) => a.live && a.spec.parent === parent);
        expect(new Set(roll.childrenOf(parent))).toEqual(new Set(children));
      }
    }
  }
});
