/**
 * The open streams of events: bounded in number, and gone with the token that opened them.
 *
 * A token that was revoked takes its streams with it at once; one that expires, at the next look.
 */
import type { Access, Caller, Shown } from '../access.ts';
import type { Clock } from '../clock.ts';
import { Failure } from '../failure.ts';
import { shownBy } from './gate.ts';
import { eventStream, type Frame } from './sse.ts';

/** Streams at once, of all kinds. */
const STREAMS_MAX = 512;

/** Asked once to come in and then again while the connection lives; `local` stays who it was. */
export function admission(access: Access, shown: Shown): () => Caller {
  const first = access.caller(shown);
  return () => (first.via === 'local' ? first : access.caller(shown));
}

export interface Streams {
  /** Aborted when the server drains. */
  readonly closing: AbortSignal;
  /** Throws Failure('over-quota'). `make` is given the signal that ends its iterable. */
  open(request: Request, make: (signal: AbortSignal) => AsyncIterable<Frame>): Response;
  /** Ends those of callers who are not let in any more. */
  recheck(): void;
}

export interface StreamsOptions {
  readonly access: Access;
  readonly clock: Clock;
  readonly closing: AbortSignal;
}

export function streams({ access, clock, closing }: StreamsOptions): Streams {
  const open = new Set<{ readonly admit: () => Caller; readonly end: AbortController }>();
  return {
    closing,
    open(request, make) {
      if (open.size >= STREAMS_MAX) {
        throw new Failure('over-quota', `${STREAMS_MAX} streams of events are open; close some`);
      }
      const mine = { admit: admission(access, shownBy(request)), end: new AbortController() };
      open.add(mine);
      const signal = AbortSignal.any([request.signal, mine.end.signal]);
      return eventStream(make, { clock, signal, closing, onEnd: () => open.delete(mine) });
    },
    recheck() {
      for (const { admit, end } of [...open]) {
        try {
          admit();
        } catch (thrown) {
          end.abort(thrown);
        }
      }
    },
  };
}
