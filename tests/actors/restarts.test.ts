import { expect, test } from 'bun:test';
import { judge, type RestartPolicy } from '../../src/actors/restarts.ts';

const policy: RestartPolicy = {
  restart: 'on-failure',
  max: 3,
  withinMs: 60_000,
  backoffMs: [0, 1_000, 5_000],
};

test.each([
  ['a normal exit is not restarted', [], 'normal', 0, { do: 'forget' }],
  ['the first crash restarts at once', [], 'failed', 0, { do: 'restart', afterMs: 0, history: [0] }],
  ['the third waits longest', [0, 1], 'failed', 2, { do: 'restart', afterMs: 5_000, history: [0, 1, 2] }],
  ['the fourth within a minute gives up', [0, 1, 2], 'failed', 3, { do: 'give-up', history: [0, 1, 2] }],
  ['old crashes are forgiven', [0, 1, 2], 'failed', 60_003, { do: 'restart', afterMs: 0, history: [60_003] }],
] as const)('[S11] %s', (_, history, exit, at, verdict) => {
  expect(judge(policy, { history, exit, at })).toEqual(verdict as never);
});

test('[S11] what is never to be restarted is forgotten, whatever it died of', () => {
  expect(judge({ ...policy, restart: 'never' }, { history: [], exit: 'failed', at: 0 })).toEqual({
    do: 'forget',
  });
});
