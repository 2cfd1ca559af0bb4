/**
 * One network side, as a process: this same program, as it is on disk now, started with `--network-side`.
 *
 * It has one end of a pair of sockets as its descriptor 3, and lives no longer than the other end is open. It
 * works in `/`: the directory of the agent may be gone by then, and what lies there is not for it to read.
 */
import { agreed, type NoteDown, type NoteUp, openPipe, type Pipe } from './pipe.ts';

/** How long it may take until it says hello. */
const HELLO_MS = 20_000;
/** How long it may take to end once its pipe is closed; how it ended says more than that. */
const PIPE_GRACE_MS = 500;
/** How long it may take to leave once it was told to. */
const LEAVE_MS = 1_500;
/** It is asked so often whether it still works, and killed when it left so many unanswered. */
const PING_EVERY_MS = 2_000;
const PINGS_UNANSWERED_MAX = 5;
/** Asked now: later its file may have been replaced, and then it is another name. */
const program = process.execPath;

export interface SideEvents {
  message(bytes: Buffer): void;
  note(note: NoteDown): void;
}

export interface Side {
  readonly pid: number;
  /** What it calls itself. Empty before it is ready. */
  readonly program: string;
  /** Null: it is there and speaks as we do; otherwise why not, and then it ends. */
  readonly ready: Promise<string | null>;
  /** How it ended. Nothing is heard of it afterwards. */
  readonly over: Promise<string>;
  /** For what goes to its link. */
  readonly pipe: Pipe<NoteUp>;
  /** It may connect now, and is heard from here on. Only when it is ready. */
  begin(events: SideEvents): void;
  /** Nothing before it may connect. */
  tell(note: NoteUp): void;
  /** Resolves when it has ended. */
  leave(goodbye: boolean): Promise<void>;
  kill(): void;
}

/** `base`: what relative paths among its options are relative to. */
function commandOf(base: string): string[] {
  const own = ['--network-side', base, ...process.argv.slice(2)];
  return Bun.isStandaloneExecutable ? [program, ...own] : [program, ...process.execArgv, Bun.main, ...own];
}

/** Throws an Error when the program cannot be started. */
export function startSide(base: string): Side {
  let events: SideEvents | null = null;
  const ready = Promise.withResolvers<string | null>();
  const over = Promise.withResolvers<string>();
  let version: number | null = null;
  let asking: ReturnType<typeof setInterval> | undefined;
  let unanswered = 0;
  let closing: ReturnType<typeof setTimeout> | undefined;
  let name = '';
  let why = '';
  const child = Bun.spawn(commandOf(base), {
    cwd: '/',
    stdio: ['ignore', 'inherit', 'inherit', 'socket-fd'],
    onExit(_, code, signal) {
      clearTimeout(patience);
      clearTimeout(closing);
      clearInterval(asking);
      pipe.close();
      const how =
        why || (signal === null ? `it ended with code ${code}` : `it was ended by signal ${signal}`);
      ready.resolve(how);
      over.resolve(how);
    },
  });
  const kill = (because: string) => {
    why ||= because;
    ready.resolve(because);
    child.kill('SIGKILL');
  };
  const patience = setTimeout(() => kill(`it did not say hello within ${HELLO_MS} ms`), HELLO_MS);
  const pipe = openPipe<NoteDown, NoteUp>(child.stdio[3] as number, {
    hello(bytes) {
      const found = agreed(bytes);
      clearTimeout(patience);
      version = found.version;
      name = found.program;
      if (version !== null) return ready.resolve(null);
      kill(
        `it is ${name} and speaks no version that this holder does; restart the agent, which ends its sessions`,
      );
    },
    message: (bytes) => events?.message(bytes),
    note(note) {
      if (note.note === 'pong') unanswered = 0;
      else events?.note(note);
    },
    drained() {},
    over(reason) {
      closing = setTimeout(() => kill(reason), PIPE_GRACE_MS);
    },
  });
  return {
    pid: child.pid,
    get program() {
      return name;
    },
    ready: ready.promise,
    over: over.promise,
    pipe,
    begin(to) {
      events = to;
      pipe.hello(Buffer.from([version ?? 0]));
      // Counted and not timed: a machine that slept has not been unanswered all the while.
      asking = setInterval(() => {
        if (unanswered >= PINGS_UNANSWERED_MAX) return kill('it does not answer its pipe');
        unanswered += 1;
        pipe.note({ note: 'ping' });
      }, PING_EVERY_MS);
    },
    tell: (note) => events !== null && pipe.note(note),
    async leave(goodbye) {
      if (events) pipe.note({ note: 'leave', goodbye });
      else kill('it is not needed');
      const late = setTimeout(() => kill('it did not leave'), LEAVE_MS);
      await over.promise;
      clearTimeout(late);
    },
    kill: () => kill('it is not needed'),
  };
}
