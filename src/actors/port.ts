/**
 * Typed holes in a machine.
 *
 * A machine names the effects it needs and their types; wiring/wire.ts fills them, tests fill
 * them with fakes. The fleet runs an effect after the transition that asked for it is durable,
 * and again after a restart, so every effect is idempotent by what its input names.
 */
import {
  type CallbackActorLogic,
  type EventObject,
  fromCallback,
  fromPromise,
  type PromiseActorLogic,
} from 'xstate';
import type { ActorKind } from '../journal.ts';

const open = (name: string) => new Error(`port "${name}" was never wired`);

export function promisePort<Output, Input>(name: string): PromiseActorLogic<Output, Input> {
  return fromPromise<Output, Input>(() => Promise.reject(open(name)));
}

export function callbackPort<Sends extends EventObject, Input>(
  name: string,
): CallbackActorLogic<EventObject, Input, Sends> {
  return fromCallback<EventObject, Input, Sends>(() => {
    throw open(name);
  });
}

/** Every event carries when it happened and, where a person or client caused it, who. */
export interface Told {
  readonly type: string;
  readonly at: number;
  readonly by?: string;
}

/** How an actor is started, stopped and brought back. Plain data: it is journalled, printed and shown. */
export interface ChildSpec {
  /** `<kind>:<id>`. */
  readonly id: string;
  readonly kind: ActorKind;
  readonly input: unknown;
  /** OTP's words: whether it comes back after it died of a bug. */
  readonly restart: 'always' | 'on-failure' | 'never';
  /** How long it may take to stop when asked, before it is killed. */
  readonly graceMs: number;
  readonly parent: string | null;
}

/** What a machine may do besides invoking ports: both take effect in the same durable batch. */
export const houseActions = {
  /** Sends an event to another actor; nothing when `to` is null or that actor is gone. */
  tell: (_: unknown, _p: { to: string | null; event: Told }) => {},
  /** Starts another actor, unless it exists. */
  spawn: (_: unknown, _p: { spec: ChildSpec; at: number }) => {},
};

/** What an effect is given besides its input. */
export interface EffectScope {
  /** The actor that invoked it. */
  readonly actor: string;
  /** Aborted when the machine leaves the state that invoked it, and when the server stops. */
  readonly signal: AbortSignal;
}

/** What the effect of a callback port returns: it has no outcome, it listens until it is aborted. */
export const listening: unique symbol = Symbol('listening');

/** The type of the function that fills a hole. */
export type EffectOf<Logic> =
  Logic extends PromiseActorLogic<infer Output, infer Input>
    ? (input: Input, scope: EffectScope) => Promise<Output>
    : Logic extends CallbackActorLogic<EventObject, infer Input, infer Sends>
      ? (input: Input, scope: EffectScope & { send(event: Sends): void }) => typeof listening
      : never;

export type EffectsOf<Ports> = { readonly [Name in keyof Ports]: EffectOf<Ports[Name]> };
