import { expect, test } from 'bun:test';
import { hitlMachine, hitlView } from '../../src/actors/hitl.ts';
import { hitlInput } from './inputs.ts';
import { done, failed, told, walk } from './walk.ts';

const yes = { type: 'answer', at: 200, by: 'ada', answer: { text: null, option: '1', by: 'ada', at: 200 } };
const view = (events: Parameters<typeof walk>[2]) =>
  hitlView(walk(hitlMachine, hitlInput, events).living.snapshot as never);

test('[H1] a question tells its session and its task that it is open', () => {
  const { acts } = walk(hitlMachine, hitlInput, []);
  expect(told(acts, 'session:s1')).toEqual([{ type: 'question.opened', at: 100, hitl: 'h1' } as never]);
  expect(told(acts, 'task:t1')).toHaveLength(1);
});

test('[H2] the first answer wins', () => {
  const second = { ...yes, at: 300, answer: { ...yes.answer, option: '2' } };
  const { living, ignored } = walk(hitlMachine, hitlInput, [yes, second]);
  expect(hitlView(living.snapshot as never).answer).toEqual({
    option: '1',
    text: null,
    by: 'ada',
    at_ms: 200,
  });
  expect(ignored).toEqual(['answer']);
});

test('[H3] the answer is delivered under the key of its question', () => {
  const { living } = walk(hitlMachine, hitlInput, [yes]);
  expect(living.ports['deliver']?.input).toMatchObject({ key: 'h1', session: 's1', answer: { option: '1' } });
});

test('[H4] it expires at its deadline and takes no answer afterwards', () => {
  const { living } = walk(hitlMachine, hitlInput, []);
  expect(living.ports['alarm']?.input).toEqual({ at: 60_000 });
  expect(view([{ type: 'alarm.rang', at: 60_000 }, yes])).toMatchObject({ state: 'expired', answer: null });
});

test('[H5] an answer that did not take is undeliverable and says why', () => {
  expect(view([yes, failed('deliver', 'undeliverable', 300)])).toMatchObject({
    state: 'undeliverable',
    failure: { code: 'undeliverable', message: 'deliver failed' },
  });
});

test('[H6] the end of its session withdraws an open question and fails one that is being answered', () => {
  const over = { type: 'session.ended', at: 400 };
  expect(view([over]).state).toBe('withdrawn');
  expect(view([yes, over])).toMatchObject({ state: 'undeliverable', ended_at_ms: 400 });
  expect(view([yes, { ...over, wentOn: true }])).toMatchObject({ state: 'answered', ended_at_ms: 400 });
  expect(view([{ ...over, wentOn: true }]).state).toBe('withdrawn');
});

test('an end is told to session and task once, with its time', () => {
  const { acts } = walk(hitlMachine, hitlInput, [yes, done('deliver', undefined, 500)]);
  expect(told(acts, 'session:s1').at(-1)).toEqual({ type: 'question.closed', at: 500, hitl: 'h1' } as never);
  expect(told(acts, 'task:t1').map(({ type }) => type)).toEqual(['question.opened', 'question.closed']);
});
