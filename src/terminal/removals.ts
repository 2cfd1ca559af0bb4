/**
 * Which recordings were removed, when, by whom and why: one line of JSON each, in `removed.jsonl`.
 *
 * A line is durable before anything is deleted. So what a crash left half deleted is known for removed, and
 * is deleted when it is met again.
 */
import { mkdirSync, readFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { SessionId } from '../ids.ts';
import type { Removal } from '../recordings.ts';

interface Line extends Removal {
  readonly session: SessionId;
}

export class Removals {
  readonly #path: string;
  #known: Map<SessionId, Removal> | null = null;

  constructor(dir: string) {
    this.#path = join(dir, 'removed.jsonl');
  }

  of(session: SessionId): Removal | null {
    return this.#all().get(session) ?? null;
  }

  async add(session: SessionId, removal: Removal): Promise<void> {
    const { at, by, reason } = removal;
    mkdirSync(join(this.#path, '..'), { recursive: true, mode: 0o700 });
    const file = await open(this.#path, 'a', 0o600);
    try {
      await file.appendFile(`${JSON.stringify({ session, at, by, reason } satisfies Line)}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    this.#all().set(session, { at, by, reason });
  }

  #all(): Map<SessionId, Removal> {
    this.#known ??= new Map(this.#read().map(({ session, ...removal }) => [session, removal]));
    return this.#known;
  }

  #read(): Line[] {
    let text = '';
    try {
      text = readFileSync(this.#path, 'utf8');
    } catch {
      return []; // Nothing was removed yet.
    }
    return text.split('\n').flatMap((line) => {
      try {
        return [JSON.parse(line) as Line];
      } catch {
        return []; // The end, or torn: then nothing was deleted.
      }
    });
  }
}
