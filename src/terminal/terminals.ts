/** All terminals: those of live sessions, and those of ended ones that somebody looks at. */
import type { Clock } from '../clock.ts';
import type { SessionId } from '../ids.ts';
import type { Log } from '../log.ts';
import type { Recordings } from '../recordings.ts';
import type { AskedOnScreen, TerminalListener, TerminalSpec, Terminals } from '../terminal.ts';
import { archive } from './archive.ts';
import type { ScreenFacts } from './asking-screen.ts';
import { keeper, readCheckpoint } from './checkpoints.ts';
import { LiveTerminal } from './live-terminal.ts';
import { directoryOf, Recording } from './recording.ts';
import { Removals } from './removals.ts';
import type { SeatLimits } from './seat.ts';

/** Ended terminals that are kept open for whoever looks at them; beyond it the oldest is closed. */
const RECALLED_MAX = 8;
/** The size of a terminal whose recording does not tell. */
const SIZE = { cols: 80, rows: 24 };

const limitsDefault: SeatLimits = {
  unsentBytesMax: 512 << 10,
  unshownBytesMax: 2 << 20,
  backlogBytesMax: 2 << 20,
};

export interface TerminalsOptions {
  readonly dir: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly listener: TerminalListener;
  readonly read: (facts: ScreenFacts) => AskedOnScreen | null;
  readonly limits?: Partial<SeatLimits>;
}

export interface DataPlane extends Terminals {
  readonly recordings: Recordings;
  readonly numbers: {
    recordedBytes(): number;
    recordingFailures(): number;
    skippedFrames(): number;
  };
}

export function terminals(options: TerminalsOptions): DataPlane {
  const { dir, clock, log, listener } = options;
  const limits = { ...limitsDefault, ...options.limits };
  const live = new Map<SessionId, LiveTerminal>();
  const recalled = new Map<SessionId, LiveTerminal>();
  let recordedBytes = 0;
  let failures = 0;
  let skips = 0;

  const make = (session: SessionId, given: TerminalSpec | null): LiveTerminal => {
    const at = directoryOf(dir, session);
    const recording = new Recording({
      dir: at,
      clock,
      onFailure(reason) {
        failures += 1;
        listener.recordingFailed(session, reason);
      },
    });
    const isNew = recording.next === 0 && given !== null;
    if (isNew && given.pty) recording.resized(given.cols, given.rows);
    const first = recording.firstSize();
    const spec = given ?? { ...(first ?? SIZE), pty: first !== undefined };
    const checkpoint = spec.pty ? readCheckpoint(at, recording) : null;
    let told = recording.next;
    return new LiveTerminal({
      session,
      // The size it had at its beginning: its changes are in the recording.
      spec: first ? { ...spec, cols: first.cols, rows: first.rows } : spec,
      recording,
      checkpoint,
      clock,
      limits,
      read: given ? options.read : null,
      onReply: (bytes) => given && listener.reply(session, bytes),
      onAsking: (question) => listener.asking(session, question),
      onRecorded(offset) {
        recordedBytes += offset - told;
        told = offset;
        listener.recorded(session, offset);
      },
      onBite: given ? keeper({ dir: at, from: checkpoint?.offset ?? 0 }) : () => {},
      onSkipped: () => {
        skips += 1;
      },
    });
  };
  const drop = (from: Map<SessionId, LiveTerminal>, session: SessionId) => {
    from.get(session)?.close();
    from.delete(session);
  };

  const erase = async (session: SessionId) => {
    drop(live, session);
    drop(recalled, session);
    await new Recording({
      dir: directoryOf(dir, session),
      clock,
      onFailure: () => {},
      isReadOnly: true,
    }).erase();
  };
  const removals = new Removals(dir);
  const recordings = archive({
    dir,
    clock,
    size: SIZE,
    removals,
    erase,
    live: (session) => live.get(session)?.recording ?? null,
  });

  return {
    recordings,
    open(session, spec) {
      const found = live.get(session);
      if (found) return found;
      drop(recalled, session);
      const terminal = make(session, spec);
      live.set(session, terminal);
      return terminal;
    },
    find: (session) => live.get(session) ?? null,
    async recall(session) {
      const found = live.get(session) ?? recalled.get(session);
      if (found) return found;
      if (removals.of(session) || !Recording.exists(directoryOf(dir, session))) return null;
      const terminal = make(session, null).recalled();
      recalled.set(session, terminal);
      for (const [oldest, { isWatched }] of recalled) {
        if (recalled.size <= RECALLED_MAX) break;
        if (!isWatched && oldest !== session) drop(recalled, oldest);
      }
      return terminal;
    },
    release: (session) => drop(live, session),
    erase,
    async close() {
      for (const session of [...live.keys()]) drop(live, session);
      for (const session of [...recalled.keys()]) drop(recalled, session);
      recordings.close();
      log.debug('terminals closed');
    },
    numbers: {
      recordedBytes: () => recordedBytes,
      recordingFailures: () => failures,
      skippedFrames: () => skips,
    },
  };
}
