/**
 * Judges what a screen asks, once its output has settled, and tells it when that changes.
 *
 * A screen that never settles (a spinner, a clock) is judged all the same, and counts when two looks in a row
 * agree. The first judgement is always told, also when it is that nothing is asked: nobody knew before.
 *
 * One that is opened again after a restart is not judged before its agent has said what the screen cannot
 * show: a question that was known by that would be another without it.
 */
import type { TerminalState } from '../agent-link.ts';
import type { Clock } from '../clock.ts';
import type { AskedOnScreen } from '../terminal.ts';
import type { ScreenFacts } from './asking-screen.ts';
import type { Screen } from './screen.ts';

const SETTLED_MS = 250;
/** A restless screen is looked at so often. */
const RESTLESS_MS = 1_000;

export interface WatchOptions {
  readonly clock: Clock;
  readonly screen: Screen;
  readonly read: (facts: ScreenFacts) => AskedOnScreen | null;
  readonly onAsking: (question: AskedOnScreen | null) => void;
  /** Judged before, by a server that is gone: nothing is told until there is evidence. */
  readonly isReopened: boolean;
}

export class Watch {
  readonly #options: WatchOptions;
  #evidence: TerminalState | null = null;
  #timer: unknown = null;
  #stirredAt = 0;
  #judgedAt = 0;
  /** Undefined until something was told. */
  #told: string | null | undefined;
  #restless: string | null | undefined;
  #isClosed = false;
  #isWaiting: boolean;

  constructor(options: WatchOptions) {
    this.#options = options;
    this.#judgedAt = options.clock.now();
    this.#isWaiting = options.isReopened;
    this.stir();
  }

  /** The screen may have changed. */
  stir(): void {
    this.#stirredAt = this.#options.clock.now();
    if (this.#timer === null) this.#sleep(SETTLED_MS);
  }

  /** Null: the agent cannot tell. */
  evidence(state: TerminalState | null): void {
    this.#isWaiting = false;
    this.#evidence = state;
    // It may be all that was missing, and the screen itself is at rest.
    this.#judgedAt = this.#options.clock.now();
    if (this.#timer === null) this.#sleep(0);
  }

  close(): void {
    this.#isClosed = true;
    if (this.#timer !== null) this.#options.clock.clearTimeout(this.#timer);
  }

  #sleep(ms: number): void {
    if (this.#isClosed || this.#isWaiting) return;
    this.#timer = this.#options.clock.setTimeout(() => {
      this.#timer = null;
      void this.#look();
    }, ms);
  }

  async #look(): Promise<void> {
    const { clock, screen } = this.#options;
    const now = clock.now();
    const quietMs = now - this.#stirredAt;
    const isRestless = quietMs < SETTLED_MS;
    if (isRestless && now - this.#judgedAt < RESTLESS_MS) return this.#sleep(SETTLED_MS - quietMs);
    const seen = this.#stirredAt;
    await screen.settled();
    if (this.#isClosed) return;
    this.#judgedAt = clock.now();
    this.#judge(isRestless || this.#stirredAt !== seen);
    if (this.#timer === null && (isRestless || this.#stirredAt !== seen)) this.#sleep(SETTLED_MS);
  }

  #judge(isRestless: boolean): void {
    const { screen, read, onAsking } = this.#options;
    const question = read(screen.facts(this.#evidence));
    const print = question?.fingerprint ?? null;
    if (isRestless) {
      const before = this.#restless;
      this.#restless = print;
      if (before !== print) return;
    }
    this.#restless = undefined;
    if (this.#told === print) return;
    this.#told = print;
    onAsking(question);
  }
}
