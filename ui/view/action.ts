/**
 * What a click asks of the server: busy while it runs, and its trouble kept for the place it was asked from.
 */
import { useState } from 'preact/hooks';
import { type Problem, problemOf } from '../wire/problem.ts';

export interface Action {
  readonly isBusy: boolean;
  readonly problem: Problem | null;
  /** Resolves with true when it worked. A second call while busy does nothing. */
  run(work: () => Promise<void>): Promise<boolean>;
  clear(): void;
}

export function useAction(): Action {
  const [isBusy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  return {
    isBusy,
    problem,
    clear: () => setProblem(null),
    async run(work) {
      if (isBusy) return false;
      setBusy(true);
      setProblem(null);
      try {
        await work();
        return true;
      } catch (thrown) {
        setProblem(problemOf(thrown));
        return false;
      } finally {
        setBusy(false);
      }
    },
  };
}

/** The text of the field an event came from. */
export function typed(event: Event): string {
  const target = event.currentTarget;
  const isField =
    target instanceof HTMLInputElement ||
    target instanceof HTMLTextAreaElement ||
    target instanceof HTMLSelectElement;
  return isField ? target.value : '';
}
