/**
 * Runs the effects of open ports, and ends them.
 *
 * An effect runs while its port is open and its opening is durable. Its outcome goes back to the actor
 * as `xstate.done.actor.<id>` or `xstate.error.actor.<id>`; an outcome that comes after the port was closed
 * is dropped. A thrown Failure is data; anything else is a bug and kills the actor.
 */
import type { Clock } from '../clock.ts';
import { Failure, toFailureInfo } from '../failure.ts';
import type { Kinds } from './kinds.ts';
import { type ChildSpec, type EffectScope, listening, type Told } from './port.ts';
import type { OpenPort } from './step.ts';

export interface OpenPorts {
  /** Makes exactly `ports` run, of those opened by entry `durable` or before. */
  match(spec: ChildSpec, ports: Readonly<Record<string, OpenPort>>, durable: number): void;
  closeAllOf(actor: string): void;
  closeAll(): void;
}

export interface PortsWorld {
  readonly kinds: Kinds;
  readonly clock: Clock;
  send(actor: string, event: Told): void;
  died(actor: string, thrown: unknown): void;
}

interface Running {
  readonly seq: number;
  readonly abort: AbortController;
}

type Run = (input: unknown, scope: EffectScope & { send(event: Told): void }) => unknown;

export function openPorts({ kinds, clock, send, died }: PortsWorld): OpenPorts {
  const running = new Map<string, Map<string, Running>>();

  const run = (spec: ChildSpec, id: string, { src, input, seq }: OpenPort): Running => {
    const abort = new AbortController();
    const { signal } = abort;
    const give = (event: Told) => {
      if (!signal.aborted) send(spec.id, event);
    };
    const effect = kinds[spec.kind].effects[src] as Run | undefined;
    const act = async () => {
      if (!effect) throw new Error(`port "${src}" of ${spec.id} was never wired`);
      return effect(input, { actor: spec.id, signal, send: give });
    };
    act().then(
      (output) => {
        if (output !== listening) give({ type: `xstate.done.actor.${id}`, output, at: clock.now() } as Told);
      },
      (thrown) => {
        if (signal.aborted) return;
        if (!(thrown instanceof Failure)) return died(spec.id, thrown);
        give({ type: `xstate.error.actor.${id}`, error: toFailureInfo(thrown), at: clock.now() } as Told);
      },
    );
    return { seq, abort };
  };

  const close = (actor: string, wanted: (id: string, seq: number) => boolean) => {
    const mine = running.get(actor);
    for (const [id, { seq, abort }] of mine ?? []) {
      if (wanted(id, seq)) continue;
      mine?.delete(id);
      abort.abort(new Failure('cancelled', `${actor} no longer needs ${id}`));
    }
    if (mine?.size === 0) running.delete(actor);
  };

  return {
    match(spec, ports, durable) {
      close(spec.id, (id, seq) => ports[id]?.seq === seq);
      for (const [id, port] of Object.entries(ports)) {
        if (port.seq > durable || running.get(spec.id)?.has(id)) continue;
        const mine = running.get(spec.id) ?? new Map<string, Running>();
        running.set(spec.id, mine);
        mine.set(id, run(spec, id, port));
      }
    },
    closeAllOf: (actor) => close(actor, () => false),
    closeAll() {
      for (const actor of [...running.keys()]) close(actor, () => false);
    },
  };
}
