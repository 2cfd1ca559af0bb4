/**
 * A fake runtime: the place outlives every server, remembers what was made and what runs, and an instance in
 * it may crash by itself. It keeps the Runtime contract (tests/sim/runtime.test.ts); every server has its own
 * door to it, which is shut when that server is killed.
 */
import { Failure } from '../../src/failure.ts';
import { instanceNamePattern } from '../../src/ids.ts';
import type { Found, Handle, InstanceSpec, Probe, Runtime, RuntimeExit } from '../../src/runtime.ts';
import type { FakeAgent } from './agents.ts';
import type { Owner, SimTime } from './time.ts';

interface Made {
  /** As it was created first. */
  spec: InstanceSpec | null;
  /** Every process that was started for it and has not ended. More than one is a fault. */
  readonly processes: FakeAgent[];
  readonly watchers: Set<(exit: RuntimeExit) => void>;
}

export interface Runtimes {
  readonly time: SimTime;
  /** Starts the agent client of an instance. */
  readonly spawn: (name: string, pid: number) => FakeAgent;
  /** Milliseconds until a call has its effect, and from then until it is answered; 0: at once. */
  readonly latency: () => number;
  /** Now and then a start fails. */
  readonly fails: () => boolean;
  /** The process of an agent is gone, and with it its connection. */
  readonly onGone: (agent: FakeAgent) => void;
  /** Looked at when storage is destroyed. */
  readonly onDestroy: (name: string) => void;
}

export class FakeRuntimes {
  readonly made = new Map<string, Made>();
  readonly #world: Runtimes;
  #pids = 100;

  constructor(world: Runtimes) {
    this.#world = world;
  }

  running(name: string): FakeAgent | null {
    return this.made.get(name)?.processes.at(-1) ?? null;
  }

  start(name: string): FakeAgent {
    const agent = this.#world.spawn(name, ++this.#pids);
    this.#of(name).processes.push(agent);
    return agent;
  }

  /** It ends by itself, or is made to; whoever watches is told once and not from inside the call. */
  end(name: string, code: number | null): void {
    const made = this.made.get(name);
    if (!made || made.processes.length === 0) return;
    for (const agent of made.processes.splice(0)) {
      agent.die();
      this.#world.onGone(agent);
    }
    const exit = { code, signal: code === null ? 'SIGKILL' : null, at: this.#world.time.now };
    for (const watcher of made.watchers) this.#later(() => made.watchers.delete(watcher) && watcher(exit));
  }

  /** The door of one server. */
  doorOf(server: Owner): Runtime {
    return new Door(this, this.#world, server);
  }

  make(spec: InstanceSpec): void {
    this.#of(spec.name).spec ??= spec;
  }

  inventory(): Found[] {
    return [...this.made].flatMap(([name, { spec }]) =>
      spec ? [{ spec, runs: this.running(name) !== null }] : [],
    );
  }

  destroy(name: string): void {
    if (this.made.has(name)) this.#world.onDestroy(name);
    this.end(name, null);
    this.made.delete(name);
  }

  watch(name: string, onExit: (exit: RuntimeExit) => void): () => void {
    const made = this.made.get(name);
    const once = (exit: RuntimeExit) => onExit(exit);
    const watchers = made?.watchers ?? new Set();
    watchers.add(once);
    if (!made || made.processes.length === 0) {
      const exit = { code: null, signal: null, at: this.#world.time.now };
      this.#later(() => watchers.delete(once) && once(exit));
    }
    return () => void watchers.delete(once);
  }

  #of(name: string): Made {
    const made = this.made.get(name) ?? { spec: null, processes: [], watchers: new Set() };
    this.made.set(name, made);
    return made;
  }

  #later(fn: () => void): void {
    queueMicrotask(fn);
  }
}

const refuse = (name: string, signal: AbortSignal | null): void => {
  if (!instanceNamePattern.test(name)) throw new Failure('bad-input', `"${name}" is no instance name`);
  if (signal?.aborted) throw new Failure('cancelled', `${name} is not wanted any more`);
};

class Door implements Runtime {
  readonly kind = 'host';
  readonly shares = null;
  readonly #all: FakeRuntimes;
  readonly #world: Runtimes;
  readonly #server: Owner;

  constructor(all: FakeRuntimes, world: Runtimes, server: Owner) {
    this.#all = all;
    this.#world = world;
    this.#server = server;
  }

  async probe(): Promise<Probe> {
    const isolation = 'full-host-access';
    return { runtime: 'host', available: true, reasons: [], unenforced: [], isolation };
  }

  async inventory(): Promise<readonly Found[]> {
    return this.#all.inventory();
  }

  async check(): Promise<void> {}

  create(spec: InstanceSpec, signal: AbortSignal): Promise<Handle> {
    return this.#call(spec.name, signal, () => {
      this.#all.make(spec);
      return this.#handle(spec.name);
    });
  }

  start({ name }: Handle, signal: AbortSignal): Promise<Handle> {
    return this.#call(name, signal, () => {
      if (!this.#all.made.has(name)) throw new Failure('runtime-failed', `${name} was never made`);
      if (this.#all.running(name)) return this.#handle(name);
      if (this.#world.fails()) throw new Failure('runtime-failed', 'there is no memory left');
      this.#all.start(name);
      return this.#handle(name);
    });
  }

  stop({ name }: Handle): Promise<void> {
    return this.#call(name, null, () => this.#all.end(name, 0));
  }

  destroy({ name }: Handle): Promise<void> {
    return this.#call(name, null, () => this.#all.destroy(name));
  }

  recover({ name }: Handle): Promise<boolean> {
    return this.#call(name, null, () => this.#all.running(name) !== null);
  }

  watch({ name }: Handle, onExit: (exit: RuntimeExit) => void): () => void {
    return this.#all.watch(name, (exit) => {
      if (this.#server.isAlive) onExit(exit);
    });
  }

  async usage({ name }: Handle) {
    if (!this.#all.running(name)) return null;
    return { cpuPercent: 1, memoryBytes: 1 << 20, processes: 1 };
  }

  #handle = (name: string): Handle => {
    const agent = this.#all.running(name);
    return { version: 1, runtime: 'host', name, ...(agent ? { pid: agent.pid } : {}) };
  };

  /** A killed server does nothing more, and what it had asked for may have been done. */
  async #call<T>(name: string, signal: AbortSignal | null, effect: () => T): Promise<T> {
    refuse(name, signal);
    await this.#wait();
    if (signal?.aborted) throw new Failure('cancelled', `${name} is not wanted any more`);
    const outcome = effect();
    await this.#wait();
    return outcome;
  }

  async #wait(): Promise<void> {
    const ms = this.#world.latency();
    const clock = this.#world.time.clockOf(this.#server);
    if (ms > 0) await new Promise<void>((resolve) => clock.setTimeout(resolve, ms));
    if (!this.#server.isAlive) await new Promise<never>(() => {});
  }
}
