/**
 * Rings once at an absolute time.
 *
 * Machines use this instead of XState's `after`: a delayed transition is lost when a snapshot is
 * restored, whereas an invoked port is run again with the same input, so a deadline survives a
 * restart and a late one rings at once.
 */
import type { Clock } from '../clock.ts';
import { type EffectScope, listening } from './port.ts';

export interface AlarmRang {
  readonly type: 'alarm.rang';
  readonly at: number;
}

export interface AlarmInput {
  /** Null: never rings. */
  readonly at: number | null;
}

type Ring = EffectScope & { send(event: AlarmRang): void };

export const alarm =
  (clock: Clock) =>
  (input: AlarmInput, { signal, send }: Ring): typeof listening => {
    const { at } = input;
    if (at === null) return listening;
    let timer: unknown;
    // A timer may ring early when the wait is longer than the clock's longest, so it looks again.
    const wind = () => {
      const wait = at - clock.now();
      if (wait <= 0) send({ type: 'alarm.rang', at: clock.now() });
      else timer = clock.setTimeout(wind, wait);
    };
    timer = clock.setTimeout(wind, Math.max(0, at - clock.now()));
    signal.addEventListener('abort', () => clock.clearTimeout(timer), { once: true });
    return listening;
  };
