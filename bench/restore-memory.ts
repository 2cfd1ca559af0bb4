/** What idle agents with one session each take in a server, and what their screens alone take. */
import { fullGC, heapStats } from 'bun:jsc';
import { readdirSync } from 'node:fs';
import { SerializeAddon } from '@xterm/addon-serialize';
import { type ITerminalAddon, Terminal } from '@xterm/headless';
import type { ChildSpec } from '../src/actors/port.ts';
import type { AgentId, SessionId } from '../src/ids.ts';
import type { Journal } from '../src/journal.ts';
import { SCROLLBACK_LINES } from '../src/terminal/screen.ts';
import type { SessionView } from '../src/views.ts';
import { forgetLinks, reopenTerminals } from '../src/wiring/presence.ts';
import { idle } from './restore-fleet.ts';
import { heartbeat, quietLink, registrationOf, standing } from './restore-house.ts';
import { rssBytes } from './terminal-figures.ts';

/** What a shell says before it waits. */
const prompt = Buffer.from('\x1b]0;~/work\x07\x1b[01;32magent\x1b[00m:\x1b[01;34m~/work\x1b[00m$ ');
/** Longer than any screen takes to be judged, and than the allocator keeps what was given back. */
const REST_MS = 5_000;
const COLLECTIONS = 4;

export interface Held {
  readonly rssBytes: number;
  readonly heapBytes: number;
  readonly descriptors: number;
}

async function held(): Promise<Held> {
  await Bun.sleep(REST_MS);
  for (let i = 0; i < COLLECTIONS; i++) {
    fullGC();
    Bun.shrink();
    await Bun.sleep(250);
  }
  const { heapSize, extraMemorySize } = heapStats();
  return {
    rssBytes: rssBytes(process.pid),
    heapBytes: heapSize + extraMemorySize,
    descriptors: readdirSync('/proc/self/fd').length,
  };
}

/** Restores the fleet of `journal`, opens its terminals as a start does, and lets its agents come back. */
export async function houseHeld(journal: Journal, dir: string): Promise<Held> {
  const { house, listener } = standing(dir, journal);
  await house.fleet.restore();
  forgetLinks(house);
  reopenTerminals(house);
  const sessions = house.fleet.views('session') as SessionView[];
  for (const { session_id, agent_id, cols, rows } of sessions) {
    const link = quietLink(agent_id);
    await listener.connected(link, registrationOf(agent_id));
    const pty = { cols, rows };
    const spool = { first: 0, next: 0 };
    const reported = { name: 'main', type: 'interactive' as const, command: 'bash', startedAt: 0, pid: 1 };
    await listener.reported(link, [{ ...reported, session: session_id as SessionId, pty, spool }]);
    listener.output(link, session_id as SessionId, { stream: 'stdout', bytes: prompt, offset: 0 });
    listener.heartbeat(link, heartbeat(house.clock.now()));
  }
  const live = (house.fleet.views('session') as SessionView[]).filter(({ state }) => state === 'live');
  const connected = sessions.filter(({ agent_id }) => house.links.has(agent_id as AgentId));
  if (live.length !== sessions.length || connected.length !== sessions.length)
    throw new Error(`of ${sessions.length} sessions ${live.length} are live`);
  return await held();
}

/** The screens alone, of the same size and with the same on them. */
export async function screensHeld(count: number): Promise<Held> {
  const [, session] = idle(1).roots as readonly [unknown, ChildSpec];
  const { cols, rows } = session.input as { cols: number; rows: number };
  const screens = Array.from({ length: count }, () => {
    const terminal = new Terminal({
      cols,
      rows,
      scrollback: SCROLLBACK_LINES,
      allowProposedApi: true,
      logLevel: 'off',
    });
    terminal.loadAddon(new SerializeAddon() as unknown as ITerminalAddon);
    terminal.write(prompt);
    return terminal;
  });
  const found = await held();
  if (screens.some(({ cols: width }) => width !== cols)) throw new Error('a screen has another size');
  return found;
}
