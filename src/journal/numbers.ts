/** In which order the numbered batches of one server may be written (src/journal.ts). */
import { Failure } from '../failure.ts';
import type { Batch } from '../journal.ts';

interface Numbered {
  readonly number?: Batch['number'] | undefined;
}

export class Numbers {
  #last: number;

  constructor(last = 0) {
    this.#last = last;
  }

  /** The last one that is in. */
  get last(): number {
    return this.#last;
  }

  /** Throws Failure('journal-away') when the one before it is not in. */
  check({ number }: Numbered): void {
    // The first one of a server has none before it.
    if (number === undefined || number === 1 || number === this.#last + 1) return;
    const what = `append: batch ${number} cannot be in before batch ${this.#last + 1}`;
    throw new Failure('journal-away', `${what}; append that one first`);
  }

  wrote({ number }: Numbered): void {
    if (number !== undefined) this.#last = number;
  }
}
