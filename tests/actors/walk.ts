/** Drives a machine through events as a pure function, collecting what it asked for. */
import type { AnyStateMachine } from 'xstate';
import type { Told } from '../../src/actors/port.ts';
import { type Act, born, type Living, step } from '../../src/actors/step.ts';

export interface Walked {
  readonly living: Living;
  readonly acts: readonly Act[];
  /** Events that the machine had no transition for. */
  readonly ignored: readonly string[];
}

export function walk(machine: AnyStateMachine, input: unknown, events: readonly (Told & object)[]): Walked {
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

export const done = (port: string, output: unknown, at: number): Told =>
  ({ type: `xstate.done.actor.${port}`, output, at }) as Told;

export const failed = (port: string, code: string, at: number): Told =>
  ({ type: `xstate.error.actor.${port}`, error: { code, message: `${port} failed` }, at }) as Told;

export const told = (acts: readonly Act[], to: string): Told[] =>
  acts.flatMap((act) => (act.do === 'tell' && act.to === to ? [act.event] : []));
