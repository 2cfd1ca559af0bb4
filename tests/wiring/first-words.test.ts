/** The first words of a server: for whom they wait, and for whom they do not. */
import { expect, test } from 'bun:test';
import { SimulatedClock } from 'xstate';
import { welcome } from '../../src/wiring/first-words.ts';
import { type House, nothingObserved } from '../../src/wiring/house.ts';

/** A house whose instances run; time stands still unless a test moves it. */
function ground(names: readonly string[]) {
  const clock = new SimulatedClock();
  const observed = nothingObserved();
  const views = names.map((name) => ({ name, state: 'running' }));
  const house = { ...observed, clock, fleet: { views: () => views } } as unknown as House;
  const connect = (name: string) => {
    observed.links.set(name as never, {} as never);
    observed.signals.tell(`link:${name}`);
  };
  return { house, clock, connect };
}
const among = (names: readonly string[]) => ({ isRevoked: async (name: string) => names.includes(name) });
const settle = async () => {
  for (let i = 0; i < 20; i++) await Promise.resolve();
};

test('[G34] a server whose only missing agents were revoked is ready at once, and says so', async () => {
  const { house, connect } = ground(['there', 'out']);
  connect('there');
  expect(await welcome(house, among(['out']))).toBe(
    'there ready, out revoked; restart it for a new identity',
  );
});

test('[G34] agents that may come are waited for, and no longer than a while', async () => {
  const { house, clock, connect } = ground(['quick', 'slow', 'out']);
  const said: string[] = [];
  void welcome(house, among(['out'])).then((words) => said.push(words));
  await settle();
  connect('quick');
  await settle();
  expect(said).toEqual([]);
  clock.increment(60_000);
  await settle();
  expect(said).toEqual(['quick ready, slow not connected yet, out revoked; restart it for a new identity']);
});

test('[G34] a server without instances does not wait', async () => {
  expect(await welcome(ground([]).house, among([]))).toBe('no instances yet');
});
