/**
 * Fake terminals: the recordings are on a disk that outlives every server; what a screen asks is read from
 * the recording (`?3?` asks, `!3!` has moved on) and told once output has settled. The contract is that of
 * src/terminal.ts as far as the wiring uses it: bytes that are held are dropped, a jump is a gap.
 */
import type { Clock } from '../../src/clock.ts';
import type { SessionId } from '../../src/ids.ts';
import type {
  AskedOnScreen,
  ScreenView,
  Terminal,
  TerminalListener,
  TerminalSpec,
  Terminals,
} from '../../src/terminal.ts';
import type { Owner } from './time.ts';

const SETTLES_MS = 80;

/** What is on disk of one session. */
export interface Recorded {
  text: string;
  gapBytes: number;
}

export const questionOn = (session: string, asked: number): AskedOnScreen => ({
  kind: 'confirm',
  question: `Question ${asked}?`,
  context: '',
  options: [
    { id: 'yes', label: 'Yes', keys: `y${asked}\r` },
    { id: 'no', label: 'No', keys: `n${asked}\r` },
  ],
  confidence: 1,
  submit: '\r',
  fingerprint: `${session}/${asked}`,
});

/** Which question a recording ends in; null: none. */
export function askedIn(text: string): number | null {
  const at = text.lastIndexOf('?');
  if (at < 0 || at < text.lastIndexOf('!')) return null;
  return Number(text.slice(text.lastIndexOf('?', at - 1) + 1, at));
}

interface Screens {
  readonly disk: Map<SessionId, Recorded>;
  readonly server: Owner;
  readonly clock: Clock;
  readonly listener: TerminalListener;
}

export function fakeTerminals(screens: Screens): Terminals {
  const live = new Map<SessionId, FakeTerminal>();
  return {
    open(session, spec) {
      const found = live.get(session);
      if (found) return found;
      const terminal = new FakeTerminal(session, spec, screens);
      live.set(session, terminal);
      return terminal;
    },
    find: (session) => live.get(session) ?? null,
    recall: async (session) => live.get(session) ?? null,
    release: (session) => void live.delete(session),
    erase: async (session) => void screens.disk.delete(session),
    close: async () => live.clear(),
  };
}

class FakeTerminal implements Terminal {
  readonly session: SessionId;
  readonly spec: TerminalSpec;
  readonly isWatched = false;
  readonly #screens: Screens;
  readonly #recorded: Recorded;
  #timer: unknown = null;
  /** Undefined: not judged yet. */
  #asked: number | null | undefined = undefined;
  #isOver = false;

  constructor(session: SessionId, spec: TerminalSpec, screens: Screens) {
    this.session = session;
    this.spec = spec;
    this.#screens = screens;
    this.#recorded = screens.disk.get(session) ?? { text: '', gapBytes: 0 };
    screens.disk.set(session, this.#recorded);
    this.#settle();
  }

  nextOffset = () => this.#recorded.text.length + this.#recorded.gapBytes;

  output(_stream: 'stdout' | 'stderr' | 'log', bytes: Uint8Array, offset: number | null): number {
    const { server } = this.#screens;
    const next = this.nextOffset();
    const at = offset ?? next;
    if (!server.isAlive || this.#isOver || at + bytes.length <= next) return next;
    if (at > next) this.#recorded.gapBytes += at - next;
    this.#recorded.text += Buffer.from(bytes)
      .toString()
      .slice(Math.max(0, next - at));
    this.#screens.listener.recorded(this.session, this.nextOffset());
    this.#settle();
    return this.nextOffset();
  }

  ended(): void {
    this.#isOver = true;
  }

  #settle(): void {
    if (!this.spec.pty || this.#timer !== null) return;
    this.#timer = this.#screens.clock.setTimeout(() => {
      this.#timer = null;
      if (this.#isOver) return;
      const asked = askedIn(this.#recorded.text);
      if (asked === this.#asked) return;
      this.#asked = asked;
      this.#screens.listener.asking(this.session, asked === null ? null : questionOn(this.session, asked));
    }, SETTLES_MS);
  }

  resized(): void {}
  evidence(): void {}
  members = () => ({ controller: null, observers: [] });

  screen(): Promise<ScreenView> {
    throw new Error('nobody looks at a fake screen');
  }

  read(): Promise<never> {
    throw new Error('nobody reads a fake recording');
  }

  attach(): never {
    throw new Error('nobody attaches to a fake terminal');
  }
}
