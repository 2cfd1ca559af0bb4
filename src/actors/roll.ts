/**
 * Every actor in memory, by its name, its kind and its parent.
 *
 * Whoever asks for one kind or one family pays for that kind or that family, however many others there are.
 */
import type { ActorKind } from '../journal.ts';
import type { ChildSpec } from './port.ts';

export interface Enrolled {
  readonly spec: ChildSpec;
  readonly live: boolean;
}

export class Roll<Actor extends Enrolled> {
  readonly #actors = new Map<string, Actor>();
  readonly #kinds = new Map<ActorKind, Map<string, Actor>>();
  /**
   * Live children by parent, oldest first. Most have one or a few: a set for each would be a quarter of it
   * all.
   */
  readonly #families = new Map<string, Actor[]>();
  /** Those of each kind that have ended, oldest end first. */
  readonly #ended = new Map<ActorKind, Set<string>>();

  get(id: string): Actor | undefined {
    return this.#actors.get(id);
  }

  has(id: string): boolean {
    return this.#actors.has(id);
  }

  /** A new actor, or another one of the same name in the place of one that ended. */
  enter(actor: Actor): void {
    const { id, kind, parent } = actor.spec;
    const before = this.#actors.get(id);
    if (before) this.#leave(before);
    this.#actors.set(id, actor);
    of(this.#kinds, kind, () => new Map<string, Actor>()).set(id, actor);
    if (!actor.live) this.end(actor);
    else if (parent !== null) of(this.#families, parent, (): Actor[] => []).push(actor);
  }

  /** It has ended, and is still known. */
  end(actor: Actor): void {
    this.#leave(actor);
    of(this.#ended, actor.spec.kind, () => new Set<string>()).add(actor.spec.id);
  }

  /** Forgets an actor that has ended. */
  forget({ spec: { id, kind } }: Enrolled): void {
    this.#actors.delete(id);
    this.#kinds.get(kind)?.delete(id);
    this.#ended.get(kind)?.delete(id);
  }

  /** The one of a kind that ended first, once more of them than `max` have ended. */
  surplus(kind: ActorKind, max: number): Actor | null {
    const ended = this.#ended.get(kind);
    if (!ended || ended.size <= max) return null;
    const [oldest] = ended;
    return this.#actors.get(oldest as string) ?? null;
  }

  all(): Iterable<Actor> {
    return this.#actors.values();
  }

  ofKind(kind: ActorKind): Iterable<Actor> {
    return this.#kinds.get(kind)?.values() ?? [];
  }

  /** Live ones, oldest first. */
  childrenOf(parent: string): Iterable<Actor> {
    return this.#families.get(parent) ?? [];
  }

  #leave(actor: Actor): void {
    const { id, kind, parent } = actor.spec;
    this.#ended.get(kind)?.delete(id);
    const family = parent === null ? undefined : this.#families.get(parent);
    const at = family?.indexOf(actor) ?? -1;
    if (at < 0) return;
    family?.splice(at, 1);
    if (family?.length === 0) this.#families.delete(parent as string);
  }
}

function of<Key, Value>(map: Map<Key, Value>, key: Key, fresh: () => Value): Value {
  const found = map.get(key);
  if (found !== undefined) return found;
  const made = fresh();
  map.set(key, made);
  return made;
}
