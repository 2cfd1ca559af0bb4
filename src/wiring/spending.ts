/**
 * The treasury: whether a session may ask a model for more, and what it used. What was used is an event of
 * the task, and in the same batch of its agent; what a person's terminal used is the agent's alone. So a
 * restart forgets nothing but what was under way.
 */
import type { HitlContext } from '../actors/hitl.ts';
import type { Told } from '../actors/port.ts';
import type { TaskContext } from '../actors/task-ports.ts';
import { Failure } from '../failure.ts';
import type { HitlId, TaskId } from '../ids.ts';
import { exceeded, nothingSpent, type Spender, type Treasury, type Use, type Wish } from '../spending.ts';
import { budgetQuestion, usedUp } from './budget-question.ts';
import { type House, sessionOf, stateOf, taskOf, until } from './house.ts';
import { ask } from './questions.ts';

/** `isOpen`: the fleet has been restored, so that what it says holds. */
export function treasury(house: House, isOpen: () => boolean): Treasury {
  const told = new Map<TaskId, string>();
  return {
    async admit(spender, wish, signal) {
      if (!isOpen()) throw new Failure('busy', 'the server is starting; try again shortly');
      const away = house.fleet.away();
      if (away) throw new Failure('journal-away', `what is used could not be written down: ${away.message}`);
      const { task } = spender;
      return task === null ? null : await admitted(house, { spender, task, wish, signal, told });
    },
    spent: (spender, use) => spent(house, spender, use),
  };
}

async function spent({ fleet, clock }: House, { agent, task }: Spender, use: Use): Promise<void> {
  const event = { type: 'model.used', at: clock.now(), use, task } as Told;
  let isApplied = false;
  const apply = () => {
    isApplied = true;
    // A task that is over tells nobody any more.
    if (task === null || !fleet.note(`task:${task}`, event)) fleet.note(`agent:${agent}`, event);
  };
  await fleet.together(apply).catch((thrown) => {
    if (!isApplied) apply();
    // It is a fact, and is written once the journal is back.
    if (!(thrown instanceof Failure)) throw thrown;
  });
}

interface Admitting {
  readonly spender: Spender;
  readonly task: TaskId;
  readonly wish: Wish;
  readonly signal: AbortSignal;
  /** Which budget of a task was last told to be used up. */
  readonly told: Map<TaskId, string>;
}

async function admitted(house: House, on: Admitting): Promise<string | null> {
  const { spender, task, wish, signal } = on;
  const now = taskOf(house, task);
  if (!now || !house.fleet.isLive(`task:${task}`)) return `task ${task} is over`;
  if (now.budget?.usd != null && !wish.hasPrice) {
    return (
      `task ${task} has a budget in dollars, and ${wish.model} has no price here; ` +
      'the operator can add one (AGENTIC_MODEL_PRICES), or the budget can be in tokens'
    );
  }
  const over = overOf(now);
  if (over === null) return null;
  tell(house, on, now);
  const hold = holding(house, on);
  const late = () => new Failure('timed-out', 'nobody has answered');
  const withinMs = house.config.credentials.models.budgetWaitMs;
  await until(house, { fact: `changed:task:${task}`, look: hold, withinMs, signal, late }).catch((thrown) => {
    if (signal.aborted || !(thrown instanceof Failure)) throw thrown;
  });
  const after = taskOf(house, task);
  const stillOver = after && overOf(after);
  if (!after || !house.fleet.isLive(`task:${task}`)) return `task ${task} is over`;
  if (stillOver === null) return null;
  return `${usedUp(after, stillOver ?? over)}; raise it by answering the question of session ${spender.session}`;
}

const overOf = ({ budget, spending }: TaskContext) =>
  exceeded(budget ?? null, spending?.total ?? nothingSpent);

/** One entry for each budget that was used up, however many requests come after. */
function tell({ fleet, clock }: House, { task, told }: Admitting, now: TaskContext): void {
  const budget = JSON.stringify(now.budget);
  if (told.get(task) === budget) return;
  told.set(task, budget);
  const spent = now.spending?.total ?? nothingSpent;
  fleet.note(`task:${task}`, { type: 'budget.exceeded', at: clock.now(), budget: now.budget, spent } as Told);
}

/**
 * Looks whether it may go on, and asks a human as soon as the session has no other question open: once, so
 * that whoever withdraws the question is not asked again by the same request.
 */
function holding(house: House, { spender, task }: Admitting): () => true | null {
  let mine: HitlId | null = null;
  return () => {
    const now = taskOf(house, task);
    const over = now && overOf(now);
    if (!now || !over || !house.fleet.isLive(`task:${task}`)) return true;
    if (mine !== null) return isPending(house, mine) ? null : true;
    const open = sessionOf(house, spender.session)?.hitl;
    if (!open) {
      const question = budgetQuestion(house, { task: now, spender, over });
      mine = question.id;
      ask(house, question).catch(() => {});
    } else if ((house.fleet.context(`hitl:${open}`) as HitlContext | null)?.about === 'budget') {
      mine = open as HitlId;
    }
    return null;
  };
}

const isPending = (house: House, hitl: HitlId): boolean =>
  ['open', 'answering'].includes(stateOf(house, `hitl:${hitl}`) ?? '');
