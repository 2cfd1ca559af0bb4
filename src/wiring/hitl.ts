/** Questions, as the doors see them. */

import { alarm } from '../actors/alarm.ts';
import type { HitlContext, HitlInput, hitlPorts } from '../actors/hitl.ts';
import type { EffectsOf } from '../actors/port.ts';
import type { HitlDesk, NewQuestion } from '../desk.ts';
import { Failure } from '../failure.ts';
import { type HitlId, newId, type SessionId } from '../ids.ts';
import type { HitlView } from '../views.ts';
import { granted } from './budget-question.ts';
import { type House, sessionOf } from './house.ts';
import { ask, deliver, type KeysFor, keysOf } from './questions.ts';

export const hitlEffects = (house: House, keysFor: KeysFor): EffectsOf<typeof hitlPorts> => ({
  alarm: alarm(house.clock),
  deliver: deliver(house, keysFor),
});

export function hitlDesk(house: House, keysFor: KeysFor): HitlDesk {
  const { fleet, clock } = house;
  const find = (id: string) => fleet.view(`hitl:${id}`) as HitlView | null;
  const there = (id: string): HitlView => {
    const view = find(id);
    if (!view) throw new Failure('not-found', `there is no question "${id}"; see GET /api/v1/hitl?state=all`);
    return view;
  };
  const open = (id: string): HitlContext => {
    const view = there(id);
    if (view.state !== 'open') throw new Failure('wrong-state', `question ${id} is ${view.state}, not open`);
    return fleet.context(`hitl:${id}`) as HitlContext;
  };
  return {
    list: ({ state, agent, session }) =>
      (fleet.views('hitl') as HitlView[]).filter(
        (v) =>
          (state === 'all' || v.state === 'open' || v.state === 'answering') &&
          (agent === undefined || v.agent_id === agent) &&
          (session === undefined || v.session_id === session),
      ),
    find,
    async ask(agent, wanted, _by) {
      const input = fromApi(house, agent, wanted);
      await ask(house, input);
      return there(input.id);
    },
    async answer(id, given, by) {
      const context = open(id);
      if ((given.text === undefined) === (given.option === undefined)) {
        throw new Failure('bad-input', 'give exactly one of text and option');
      }
      const isSecret = context.kind === 'secret';
      // Says now what would fail later: an answer that this question does not know.
      refuseStranger(context, given, () =>
        context.about === 'budget' ? granted(context, given) : keysOf(keysFor, context, given),
      );
      const at = clock.now();
      if (isSecret && given.text !== undefined) house.unwritten.set(id as HitlId, given.text);
      const text = isSecret ? null : (given.text ?? null);
      const answer = { text, option: given.option ?? null, by, at };
      const event = { type: 'answer', at, by, answer };
      if (!(await fleet.send(`hitl:${id}`, event))) {
        throw new Failure('wrong-state', `question ${id} is ${there(id).state}: another answer was first`);
      }
      return there(id);
    },
    async withdraw(id, by) {
      open(id);
      await fleet.send(`hitl:${id}`, { type: 'withdraw', at: clock.now(), by });
      return there(id);
    },
  };
}

function refuseStranger({ options }: HitlInput, { option }: { option?: string }, keys: () => unknown): void {
  if (option !== undefined && !options.some(({ id }) => id === option)) {
    const known = options.map(({ id, label }) => `${id} (${label})`).join(', ') || 'none';
    throw new Failure('unprocessable', `there is no option "${option}"; the options are: ${known}`, {
      faults: [{ path: 'option', message: `choose one of: ${known}` }],
    });
  }
  try {
    keys();
  } catch (thrown) {
    if (!(thrown instanceof Failure)) throw thrown;
    throw new Failure('unprocessable', thrown.message, {
      faults: [{ path: 'text', message: thrown.message }],
    });
  }
}

function fromApi(house: House, agent: string, wanted: NewQuestion): HitlInput {
  const session = sessionOf(house, wanted.sessionId);
  if (!session || session.agent !== agent || !house.fleet.isLive(`session:${wanted.sessionId}`)) {
    throw new Failure('not-found', `agent ${agent} has no live session "${wanted.sessionId}"`);
  }
  if (session.hitl) {
    throw new Failure(
      'already-exists',
      `session ${session.id} has an open question already: ${session.hitl}`,
    );
  }
  const askedAt = house.clock.now();
  const expiresIn = wanted.expiresInMs ?? house.config.hitlExpiresMs;
  return {
    id: newId<HitlId>(),
    agent: session.agent,
    session: session.id as SessionId,
    task: session.task,
    source: 'api',
    kind: wanted.kind,
    prompt: wanted.prompt,
    context: wanted.context,
    options: wanted.options.map(({ id, label, keys }) => ({ id, label, keys: keys ?? `${id}\r` })),
    submit: '\r',
    confidence: 1,
    fingerprint: '',
    askedAt,
    expiresAt: expiresIn === null ? null : askedAt + expiresIn,
  };
}
