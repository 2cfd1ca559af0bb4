/** Recordings, with what is remembered of their sessions; and those that are not kept any longer. */
import { migrated } from '../actors/kinds.ts';
import { machines } from '../actors/machines.ts';
import { sessionView } from '../actors/session.ts';
import { recall } from '../actors/step.ts';
import { rfc3339 } from '../clock.ts';
import type { Exported, RecordingDesk, RecordingQuery } from '../desk.ts';
import { Failure } from '../failure.ts';
import type { SessionId } from '../ids.ts';
import type { Journal } from '../journal.ts';
import type { Log } from '../log.ts';
import type { Budget, RecordingFacts, RecordingMark, RecordingName, Recordings } from '../recordings.ts';
import type { SessionView } from '../views.ts';
import type { FoundLineView, RecordingMarkView, RecordingView } from '../views-recordings.ts';
import type { House } from './house.ts';

/** Looked at by one call, whether they fit or not. */
const LOOKED_MAX = 500;
/** Of recordings that were never counted, so much is indexed by one call. */
const COUNT_BYTES = 64 << 20;
/** Searched by one call. */
const SEARCH_BYTES = 32 << 20;
/** Ended sessions that are known without asking the journal again. */
const REMEMBERED_MAX = 10_000;

export interface RecordingWorld {
  readonly recordings: Recordings;
  readonly now: () => number;
  readonly log: Log;
  /** Null for one that nobody remembers. */
  readonly session: (id: string) => Promise<SessionView | null>;
  readonly isLive: (id: string) => boolean;
}

export function recordingWorld(house: House, journal: Journal): RecordingWorld {
  const { fleet, recordings, clock, log } = house;
  const remembered = new Map<string, SessionView>();
  return {
    recordings,
    now: () => clock.now(),
    log,
    isLive: (id) => fleet.isLive(`session:${id}`),
    async session(id) {
      const actor = `session:${id}`;
      const held = (fleet.view(actor) as SessionView | null) ?? remembered.get(id);
      if (held) return held;
      const record = await journal.record(actor);
      if (!record) return null;
      const { machine } = machines.session;
      const { snapshot } = recall(machine, migrated(machines.session, record), record.seq);
      const view = sessionView(snapshot as Parameters<typeof sessionView>[0]);
      if (remembered.size >= REMEMBERED_MAX) remembered.clear();
      if (!record.live) remembered.set(id, view);
      return view;
    },
  };
}

export function recordingDesk(world: RecordingWorld): RecordingDesk {
  const { recordings, session: sessionOf, isLive } = world;
  const exported = async (id: string, pieces: AsyncIterable<string>): Promise<Exported> => ({
    name: fileNameOf(id, await sessionOf(id)),
    pieces,
  });
  return {
    list: (query) => list(world, query),
    async find(id, from) {
      const facts = await recordings.facts(id as SessionId, { bytes: COUNT_BYTES });
      const { marks, next } = await recordings.marks(id as SessionId, from);
      if (!facts) throw new Failure('busy', `the recording of session ${id} is not counted yet; ask again`);
      const recording = viewOf(id, { facts, session: await sessionOf(id), live: isLive(id) });
      return { recording, marks: marks.map(markView), next_offset: next };
    },
    screen: (id, moment, signal) => recordings.screenAt(id as SessionId, moment, signal),
    gapsBefore: (id, offset) => recordings.gapsBefore(id as SessionId, offset),
    async cast(id, wish, signal) {
      const session = await sessionOf(id);
      const command = session && [session.command, ...session.args].join(' ');
      const named = { title: session?.session_name ?? null, command };
      return await exported(id, await recordings.cast(id as SessionId, { ...named, ...wish }, signal));
    },
    text: async (id) => await exported(id, await recordings.text(id as SessionId)),
    lines: (id, wish) => {
      const budget = { bytes: SEARCH_BYTES };
      return recordings.search(id as SessionId, { ...wish, budget, since: null, until: null });
    },
    search: (query) => search(world, query),
    async remove(id, by) {
      if (isLive(id)) {
        throw new Failure(
          'wrong-state',
          `session ${id} is not over; its recording can be removed when it is`,
        );
      }
      const removal = { at: world.now(), by, reason: 'removed on request' };
      if (!recordings.has(id as SessionId)) await recordings.facts(id as SessionId, { bytes: 0 });
      await recordings.remove(id as SessionId, removal);
      world.log.info('recording removed', { session: id, by });
      return { ...removal, at: rfc3339(removal.at) };
    },
  };
}

const fits = ({ agent, task }: Pick<RecordingQuery, 'agent' | 'task'>, view: SessionView | null): boolean =>
  (agent === null || view?.agent_id === agent) && (task === null || view?.task_id === task);

/**
 * Those from one on, or, when that was removed, those that would follow it. Throws Failure('bad-input') for
 * one that never was.
 */
async function namesFrom(recordings: Recordings, first: string | null): Promise<readonly RecordingName[]> {
  const names = await recordings.list();
  if (first === null) return names;
  const index = names.findIndex(({ session }) => session === first);
  if (index >= 0) return names.slice(index);
  if (recordings.removed(first as SessionId)) return names.filter(({ session }) => session < first);
  throw noPlace(first);
}

/** Those after the one that a page ended with. */
async function namesAfter(recordings: Recordings, before: string | null): Promise<readonly RecordingName[]> {
  const names = await namesFrom(recordings, before);
  return names[0]?.session === before ? names.slice(1) : names;
}

const noPlace = (before: string): Failure =>
  new Failure('bad-input', `before "${before}" is none; give what \`next\` was in the last answer`);

async function list(world: RecordingWorld, query: RecordingQuery) {
  const { recordings, session: sessionOf, isLive } = world;
  const found: RecordingView[] = [];
  const names = await namesAfter(recordings, query.before);
  const budget: Budget = { bytes: COUNT_BYTES };
  let looked: string | null = null;
  for (const [i, { session: id }] of names.entries()) {
    if (found.length >= query.limit || i >= LOOKED_MAX) return { recordings: found, next: looked };
    const session = await sessionOf(id);
    if (fits(query, session)) {
      const facts = await recordings.facts(id, budget).catch(gone);
      // Too much to count at once: the next page begins with this one.
      if (facts === null && looked !== null) return { recordings: found, next: looked };
      if (facts) found.push(viewOf(id, { facts, session, live: isLive(id) }));
    }
    looked = id;
  }
  return { recordings: found, next: null };
}

/** It was removed since it was listed. */
function gone(thrown: unknown): undefined {
  if (!(thrown instanceof Failure) || thrown.code !== 'not-found') throw thrown;
}

async function search(world: RecordingWorld, query: Parameters<RecordingDesk['search']>[0]) {
  const { recordings, session: sessionOf } = world;
  const { q, since, until, limit } = query;
  const found: FoundLineView[] = [];
  const budget: Budget = { bytes: SEARCH_BYTES };
  const begin = placeOf(query.before);
  const rest = await namesFrom(recordings, begin?.session ?? null);
  for (const [i, { session: id, at }] of rest.entries()) {
    const from = id === begin?.session ? begin.offset : 0;
    if (found.length >= limit || i >= LOOKED_MAX || budget.bytes <= 0) {
      return { found, next: `${id}@${from}` };
    }
    if (until !== null && at > until) continue;
    const session = await sessionOf(id);
    const isOver = since !== null && session?.ended_at && Date.parse(session.ended_at) < since;
    if (isOver || !fits(query, session)) continue;
    const wish = { q, from, limit: limit - found.length, budget, since, until };
    const lines = await recordings.search(id, wish).catch(gone);
    if (!lines) continue;
    found.push(...lines.lines.map((line) => lineView(id, line, session)));
    if (lines.next !== null) return { found, next: `${id}@${lines.next}` };
  }
  return { found, next: null };
}

/** `<session>@<offset>`, as `next` has it. */
function placeOf(text: string | null): { session: string; offset: number } | null {
  if (text === null) return null;
  const at = text.lastIndexOf('@');
  const offset = Number(text.slice(at + 1));
  if (at > 0 && Number.isSafeInteger(offset) && offset >= 0) return { session: text.slice(0, at), offset };
  throw noPlace(text);
}

const lineView = (
  id: string,
  line: Awaited<ReturnType<Recordings['search']>>['lines'][number],
  session: SessionView | null,
): FoundLineView => ({
  session_id: id,
  session_name: session?.session_name ?? null,
  agent_id: session?.agent_id ?? null,
  task_id: session?.task_id ?? null,
  offset: line.offset,
  at: rfc3339(line.at),
  stream: line.stream,
  text: line.text,
  screen_url: `${urlOf(id)}/screen?offset=${line.end}`,
});

const urlOf = (id: string): string => `/api/v1/sessions/${encodeURIComponent(id)}`;

interface Known {
  readonly facts: RecordingFacts;
  readonly session: SessionView | null;
  readonly live: boolean;
}

function viewOf(id: string, { facts, session, live }: Known): RecordingView {
  const { firstAt, lastAt, gaps, size } = facts;
  const url = urlOf(id);
  return {
    session_id: id,
    session_name: session?.session_name ?? null,
    session_type: session?.session_type ?? null,
    agent_id: session?.agent_id ?? null,
    task_id: session?.task_id ?? null,
    command: session?.command ?? null,
    args: session?.args ?? null,
    live,
    has_screen: size !== null,
    cols: size?.cols ?? null,
    rows: size?.rows ?? null,
    size_bytes: facts.bytesOnDisk,
    output_bytes: facts.outputBytes,
    next_offset: facts.nextOffset,
    first_at: firstAt === null ? null : rfc3339(firstAt),
    last_at: lastAt === null ? null : rfc3339(lastAt),
    duration_ms: firstAt === null || lastAt === null ? 0 : Math.max(0, lastAt - firstAt),
    gaps: gaps && { ...gaps },
    recording_url: `${url}/recording`,
    screen_url: `${url}/screen`,
    transcript_url: `${url}/transcript`,
    cast_url: `${url}/recording.cast`,
    text_url: `${url}/recording.txt`,
  };
}

function markView(mark: RecordingMark): RecordingMarkView {
  const { kind, offset } = mark;
  const at = rfc3339(mark.at);
  if (mark.kind === 'resize') return { kind, offset, at, cols: mark.cols, rows: mark.rows };
  if (mark.kind === 'gap') return { kind, offset, at, bytes: mark.bytes };
  return { kind, offset, at, exit_code: mark.exitCode, reason: mark.reason };
}

/** `<agent>-<name>-<when it began>`, of letters that every file system takes. */
function fileNameOf(id: string, session: SessionView | null): string {
  const when = session?.created_at.replace(/\.\d+/, '').replace(/[-:]/g, '');
  const words = session ? [session.agent_id, session.session_name, when] : ['session', id];
  return words
    .join('-')
    .replace(/[^A-Za-z0-9._-]+/g, '_')
    .slice(0, 120);
}
