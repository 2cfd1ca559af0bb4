/**
 * One process of a session: on a pseudo-terminal or on pipes.
 *
 * Its output can be paused to the byte, and then the process itself waits, as on a slow terminal. Bytes are
 * handed on as they come, never as lines. Nothing here knows of links, offsets or sessions.
 */
import { closeSync, writeSync } from 'node:fs';
import { constants } from 'node:os';
import { foregroundOf, modesOf, openPty, resizePty, type Size } from './libc.ts';
import { type Ending, endAll, foreground, send } from './processes.ts';
import type { Stream } from './spool.ts';

export interface Command {
  readonly argv: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  readonly pty: (Size & { readonly term: string }) | null;
}

export interface Ended {
  readonly exitCode: number;
  readonly signal: number | null;
}

export interface Running {
  readonly pid: number;
  /** Resolves when the process has ended and its output has been read. */
  readonly ended: Promise<Ended>;
  /** Null for a process on pipes. */
  readonly terminal: { resize(size: Size): void; state(): TerminalFacts | null } | null;
  pause(): void;
  resume(): void;
  /** Throws when more waits than `INPUT_BYTES_MAX`. Resolves when it is written. */
  write(bytes: Uint8Array): Promise<void>;
  closeInput(): void;
  /** To the terminal's foreground group, or to the process's own group. */
  signal(number: number): boolean;
  end(graceMs: number): Promise<boolean>;
}

export interface TerminalFacts {
  readonly echo: boolean;
  readonly canonical: boolean;
  readonly reading: boolean | null;
  readonly foreground: string;
}

export type OnOutput = (stream: Stream, bytes: Uint8Array) => void;

/** Typed input that the process has not read. */
const INPUT_BYTES_MAX = 4 << 20;
/** After the process has ended, how long a child of it may keep the terminal open. */
const DRAIN_MS = 2_000;
const BUSY_RETRY_MS = 5;
/** A flood is read without a turn of the event loop for as long as it lasts; after so much there is one. */
const TURN_BYTES = 128 << 10;

const signalNumber = (name: string | number | null): number | null => {
  if (name === null || typeof name === 'number') return name;
  return (constants.signals as Record<string, number>)[name] ?? null;
};

/** Throws an Error whose message says why it could not be started. */
export function run(command: Command, onOutput: OnOutput): Running {
  return command.pty ? onTerminal(command, command.pty, onOutput) : onPipes(command, onOutput);
}

function endedOf({ exitCode, signalCode }: Pick<Bun.Subprocess, 'exitCode' | 'signalCode'>): Ended {
  const signal = signalNumber(signalCode);
  return { exitCode: signal === null ? (exitCode ?? -1) : 128 + signal, signal };
}

function onTerminal(command: Command, size: Size & { term: string }, onOutput: OnOutput): Running {
  const { master, slave } = openPty(size);
  let child: Bun.Subprocess;
  try {
    // setsid -c: a session of its own whose controlling terminal is the slave.
    child = Bun.spawn(['setsid', '-c', ...command.argv], {
      cwd: command.cwd,
      env: { ...command.env, TERM: size.term },
      stdio: [slave, slave, slave],
    });
  } catch (thrown) {
    closeSync(master);
    throw thrown;
  } finally {
    closeSync(slave);
  }
  let isOpen = true;
  let isPaused = false;
  let gate = Promise.withResolvers<void>();
  gate.resolve();
  // Polled by the event loop. A read that waits in the thread pool would take one of its few threads for
  // every quiet terminal, and then no other terminal is read, nor any file.
  const reader = Bun.file(master).stream().getReader();
  const drained = drain(
    reader,
    () => gate.promise,
    (bytes) => onOutput('stdout', bytes),
  ).catch(() => {
    // The last slave was closed: Linux says EIO.
  });
  const ended = child.exited.then(async () => {
    for (let waited = 0; waited < DRAIN_MS; ) {
      if (await Promise.race([drained.then(() => true), Bun.sleep(50).then(() => false)])) break;
      // While nobody takes the output its end cannot come.
      if (!isPaused) waited += 50;
    }
    isOpen = false;
    await reader.cancel().catch(() => {});
    closeSync(master);
    return endedOf(child);
  });
  const input = inputQueue((bytes) => (isOpen ? writeSync(master, bytes) : bytes.length));
  return {
    pid: child.pid,
    ended,
    terminal: {
      resize: (to) => isOpen && resizePty(master, to),
      state: () => (isOpen ? stateOf(master) : null),
    },
    pause() {
      if (isPaused) return;
      isPaused = true;
      gate = Promise.withResolvers();
    },
    resume() {
      isPaused = false;
      gate.resolve();
    },
    write: input,
    // The end of input on a terminal is a character.
    closeInput: () => void input(new Uint8Array([4])).catch(() => {}),
    signal(number) {
      const group = isOpen ? foregroundOf(master) : null;
      return send(-(group ?? child.pid), number);
    },
    end: (graceMs) => endAll(child.pid, { graceMs, hangUp: true } satisfies Ending),
  };
}

/** Reads to the end, whenever `opened` resolves. */
async function drain(
  reader: Pick<ReadableStreamDefaultReader<Uint8Array>, 'read'>,
  opened: () => Promise<void>,
  onBytes: (bytes: Uint8Array) => void,
): Promise<void> {
  for (let sinceTurn = 0; ; ) {
    await opened();
    const { done, value } = await reader.read();
    if (done) return;
    onBytes(value);
    sinceTurn += value.length;
    if (sinceTurn < TURN_BYTES) continue;
    sinceTurn = 0;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function stateOf(master: number): TerminalFacts | null {
  const modes = modesOf(master);
  const group = foregroundOf(master);
  if (!modes) return null;
  const front = group === null ? null : foreground(group);
  return { ...modes, reading: front?.reading ?? null, foreground: front?.name ?? '' };
}

/** Writes in order to a descriptor that may be busy; nothing is lost and nothing blocks. */
function inputQueue(write: (bytes: Uint8Array) => number): Running['write'] {
  let waiting = 0;
  let turn: Promise<void> = Promise.resolve();
  const all = async (bytes: Uint8Array) => {
    let rest = bytes;
    while (rest.length > 0) {
      try {
        rest = rest.subarray(write(rest));
      } catch (thrown) {
        if ((thrown as NodeJS.ErrnoException).code !== 'EAGAIN') throw thrown;
        await Bun.sleep(BUSY_RETRY_MS);
      }
    }
  };
  return (bytes) => {
    if (waiting + bytes.length > INPUT_BYTES_MAX) {
      return Promise.reject(new Error('the process does not read its input, and too much of it waits'));
    }
    waiting += bytes.length;
    const mine = turn.then(() => all(bytes));
    turn = mine
      .catch(() => {})
      .finally(() => {
        waiting -= bytes.length;
      });
    return mine;
  };
}

function onPipes(command: Command, onOutput: OnOutput): Running {
  // A session of its own, so that a signal can reach all of it and a terminal of ours none of it.
  const child = Bun.spawn(['setsid', ...command.argv], {
    cwd: command.cwd,
    // Bun's pipes are sockets, and bash takes a socket for a remote login unless it is told that it is
    // nested.
    env: { SHLVL: '1', ...command.env },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  let gate = Promise.withResolvers<void>();
  gate.resolve();
  const pipe = (stream: Stream, source: ReadableStream<Uint8Array>) =>
    drain(
      source.getReader(),
      () => gate.promise,
      (bytes) => onOutput(stream, bytes),
    );
  const outputs = Promise.all([pipe('stdout', child.stdout), pipe('stderr', child.stderr)]);
  let isPaused = false;
  const ended = child.exited.then(async () => {
    // A child that went to the background may hold the pipe for ever.
    for (let waited = 0; waited < DRAIN_MS; ) {
      if (await Promise.race([outputs.then(() => true), Bun.sleep(50).then(() => false)])) break;
      if (!isPaused) waited += 50;
    }
    return endedOf(child);
  });
  let isClosed = false;
  return {
    pid: child.pid,
    ended,
    terminal: null,
    pause() {
      if (isPaused) return;
      isPaused = true;
      gate = Promise.withResolvers();
    },
    resume() {
      isPaused = false;
      gate.resolve();
    },
    async write(bytes) {
      if (isClosed) throw new Error('its input is closed');
      child.stdin.write(bytes);
      await child.stdin.flush();
    },
    closeInput() {
      if (isClosed) return;
      isClosed = true;
      void child.stdin.end();
    },
    signal: (number) => send(-child.pid, number),
    end: (graceMs) => endAll(child.pid, { graceMs, hangUp: false }),
  };
}
