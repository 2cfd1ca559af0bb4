/** Drives a machine through events as a pure function, collecting what it asked for. */
import type { AnyStateMachine } from 'xstate';
import type { Told } from '../../src/actors/port.ts';
import { type Act, born, type Living, step } from '../../src/actors/step.ts';

/** Any event of any machine: more fields than `Told` are its own. */
export type Step = Told & { readonly [field: string]: unknown };

export interface Walked {
  readonly living: Living;
  readonly acts: readonly Act[];
  /** Events that the machine had no transition for. */
  readonly ignored: readonly string[];
}

export function walk(machine: AnyStateMachine, input: unknown, events: readonly Step[]): Walked {
  const first = born(machine, input);
  const acts: Act[] = [...first.acts];
  const ignored: string[] = [];
  let living = first.next;
  for (const event of events) {
    const stepped = step(machine, living, event);
    if (!stepped) {
      ignored.push(event.type);
      continue;
    }
    living = stepped.next;
    acts.push(...stepped.acts);
  }
  return { living, acts, ignored };
}

export const done = (port: string, output: unknown, at: number): Step =>
  ({ type: `xstate.done.actor.${port}`, output, at }) as Step;

export const failed = (port: string, code: string, at: number): Step =>
  ({ type: `xstate.error.actor.${port}`, error: { code, message: `${port} failed` }, at }) as Step;

export const told = (acts: readonly Act[], to: string): Told[] =>
  acts.flatMap((act) => (act.do === 'tell' && act.to === to ? [act.event] : []));
