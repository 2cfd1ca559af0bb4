/**
 * Questions: from a screen to a human, and the answer back to the terminal.
 *
 * One open question a session: what a screen asks while one is open supersedes it when it is another, and
 * withdraws it when it asks nothing any more; a question asked by API is left alone [H1]. An answer is typed
 * under the question's id, and holds only once the screen has moved on [H5].
 */
import type { Delivery, HitlContext, HitlInput } from '../actors/hitl.ts';
import type { ChildSpec, EffectScope } from '../actors/port.ts';
import { Failure } from '../failure.ts';
import { type HitlId, newId, type SessionId } from '../ids.ts';
import type { AskedOnScreen } from '../terminal.ts';
import { grant } from './budget-question.ts';
import { type House, linkOf, overLink, sessionOf, until } from './house.ts';

/** From this confidence a human is asked. */
const CONFIDENCE_MIN = 0.85;
/** How long the screen may take to move on after an answer was typed. */
const TAKES_MS = 8_000;
const LINK_WAIT_MS = 60_000;
/** How long a screen may take to be judged after a restart. */
const JUDGED_MS = 5_000;

/**
 * Works out what to type; the readers of questions know. Null: that answer cannot be given to this question.
 */
export type KeysFor = (question: AskedOnScreen, answer: { text?: string; option?: string }) => string | null;

export function asked(house: House, session: SessionId, question: AskedOnScreen | null): void {
  const sure = question && question.confidence >= CONFIDENCE_MIN ? question : null;
  house.asked.set(session, sure);
  settle(house, session);
  house.signals.tell(`asked:${session}`);
}

/** Makes the session's open question what its screen asks now. */
export function settle(house: House, session: SessionId): void {
  const { fleet, clock, asked } = house;
  const context = sessionOf(house, session);
  if (!context || !fleet.isLive(`session:${session}`)) return;
  const now = asked.get(session);
  if (now === undefined) return;
  const at = clock.now();
  const open = context.hitl ? (fleet.context(`hitl:${context.hitl}`) as HitlContext | null) : null;
  if (open) {
    if (open.source !== 'screen' || open.fingerprint === now?.fingerprint) return;
    fleet.note(`hitl:${open.id}`, { type: now ? 'supersede' : 'withdraw', at, by: 'screen' });
    if (fleet.isLive(`hitl:${open.id}`)) return; // It is being answered; its end brings us back here.
  }
  if (now) ask(house, fromScreen(house, session, now));
}

function fromScreen(house: House, session: SessionId, now: AskedOnScreen): HitlInput {
  const context = sessionOf(house, session);
  if (!context) throw new Error(`no session ${session}`);
  const askedAt = house.clock.now();
  const { hitlExpiresMs } = house.config;
  return {
    id: newId<HitlId>(),
    agent: context.agent,
    session,
    task: context.task,
    source: 'screen',
    kind: now.kind,
    prompt: now.question,
    context: now.context,
    options: now.options,
    submit: now.submit,
    confidence: now.confidence,
    fingerprint: now.fingerprint,
    askedAt,
    expiresAt: hitlExpiresMs === null ? null : askedAt + hitlExpiresMs,
  };
}

/** Throws Failure('already-exists') when the session has an open question. */
export function ask(house: House, input: HitlInput): Promise<void> {
  const spec: ChildSpec = {
    id: `hitl:${input.id}`,
    kind: 'hitl',
    input,
    restart: 'on-failure',
    graceMs: 1_000,
    parent: `session:${input.session}`,
  };
  const started = house.fleet.start(spec, input.askedAt);
  started.catch((thrown) =>
    house.log.warn('question not asked', { session: input.session, why: String(thrown) }),
  );
  return started;
}

const asOnScreen = (q: HitlInput): AskedOnScreen => ({
  kind: q.kind,
  question: q.prompt,
  context: q.context,
  options: q.options,
  confidence: q.confidence,
  submit: q.submit,
  fingerprint: q.fingerprint,
});

/** What must be typed; throws Failure('undeliverable') when it cannot be told. */
export function keysOf(
  keysFor: KeysFor,
  question: HitlInput,
  answer: { text?: string; option?: string },
): string {
  const keys = keysFor(asOnScreen(question), answer);
  if (keys === null) {
    const choices = question.options.map(({ id, label }) => `${id} (${label})`).join(', ');
    throw new Failure('undeliverable', `that is no answer to "${question.prompt}"; choose one of ${choices}`);
  }
  return keys;
}

/** The effect behind `hitl.deliver`. */
export const deliver =
  (house: House, keysFor: KeysFor) =>
  async (delivery: Delivery, { signal }: EffectScope) => {
    const { key, session, question, answer } = delivery;
    if (question.about === 'budget') return grant(house, delivery);
    const text = answer.text ?? house.unwritten.get(key) ?? null;
    if (text === null && answer.option === null) {
      throw new Failure(
        'undeliverable',
        'the server was restarted before the secret was typed; answer again',
      );
    }
    const keys = keysOf(keysFor, question, {
      ...(text === null ? {} : { text }),
      ...(answer.option === null ? {} : { option: answer.option }),
    });
    const context = sessionOf(house, session);
    if (!context) throw new Failure('undeliverable', `session ${session} is over`);
    const to = { agent: context.agent, withinMs: LINK_WAIT_MS, signal };
    // Screens move on by what an agent says.
    await linkOf(house, context.agent, to);
    const moved = movedOn(house, question);
    if (question.source === 'screen') await judged(house, session, signal);
    // After a restart the screen may have moved on already; the agent drops what it has typed under this key.
    if (question.source !== 'screen' || !moved()) {
      const bytes = new TextEncoder().encode(keys);
      await overLink(house, to, (link) => link.type(session, bytes, { key, signal }));
    }
    if (question.source === 'screen') {
      await until(house, {
        fact: `asked:${session}`,
        look: () => (moved() ? true : null),
        withinMs: TAKES_MS,
        signal,
        late: () =>
          new Failure('undeliverable', `the answer was typed and the screen still asks: ${question.prompt}`),
      });
    }
    house.unwritten.delete(key);
  };

/** Whether the screen is known to ask something else, or nothing, now. */
function movedOn({ asked }: House, { session, fingerprint }: HitlInput): () => boolean {
  return () => asked.has(session) && asked.get(session)?.fingerprint !== fingerprint;
}

/** Waits until the screen has been judged once; not for long, because the key makes typing harmless. */
async function judged(house: House, session: SessionId, signal: AbortSignal): Promise<void> {
  const late = () => new Failure('timed-out', 'the screen was not judged');
  const look = () => (house.asked.has(session) ? true : null);
  await until(house, { fact: `asked:${session}`, look, withinMs: JUDGED_MS, signal, late }).catch(
    (thrown) => {
      if (signal.aborted) throw thrown;
    },
  );
}

/** Called for every change of a question: its end may make room for what the screen asks now. */
export function questionChanged(
  house: House,
  view: { state: string; session_id: string; hitl_id: string },
): void {
  if (view.state === 'open' || view.state === 'answering') return;
  house.unwritten.delete(view.hitl_id as HitlId);
  settle(house, view.session_id as SessionId);
}
