/**
 * Reads what a task's tool tells while it runs, ends it when it rests, and sees when it hangs.
 *
 * What is told is read from the recording, or from the file that the tool's own hooks write; so after a
 * restart it is read again from the start, and comes to the same.
 */
import { constants } from 'node:fs';
import { open, realpath } from 'node:fs/promises';
import { toolNamed } from '../../agent/tools/locate.ts';
import type { Following, Tool, ToolProgress, ToolReader } from '../../agent/tools/tool.ts';
import type { EffectScope, Told } from '../actors/port.ts';
import { listening } from '../actors/port.ts';
import type { OfTask, Run, Tally, TaskHung } from '../actors/task-ports.ts';
import { sleep } from '../clock.ts';
import type { AgentId, SessionId } from '../ids.ts';
import type { Manifest } from '../tasks/manifest.ts';
import { durationMs } from '../tasks/units.ts';
import type { Terminal } from '../terminal.ts';
import { type House, taskOf } from './house.ts';
import { seenFrom } from './lending.ts';

/** How often files that a tool writes are looked at. */
const LOOK_EVERY_MS = 300;
const READ_BYTES_MAX = 1 << 20;
/** Of a file of a hostile instance no more than this is read. */
const FILE_BYTES_MAX = 256 << 20;

/** What is kept of a launch: how to follow it, and what is typed at its start. No secrets. */
export interface KeptLaunch {
  readonly follow: Following;
  readonly stdin: string | null;
}

export const keptLaunch = ({ launch }: Run): KeptLaunch => launch as KeptLaunch;

interface Source {
  readonly path: string;
  readonly name: 'told' | 'transcript';
  at: number;
}

/** Reads everything a tool has told so far; call again for what came since. */
export interface Listener {
  /** True when anything new was read. */
  catchUp(terminal: Terminal | null): Promise<boolean>;
  progress(): ToolProgress;
  tally(lastActivityAt: number | null): Tally;
}

export function listener(tool: Tool, follow: Following): Listener {
  const reader: ToolReader = tool.reader();
  const sources: Source[] =
    follow.tells.by === 'file' ? [{ path: follow.tells.path, name: 'told', at: 0 }] : [];
  let offset = 0;

  const fromRecording = async (terminal: Terminal): Promise<boolean> => {
    const before = offset;
    for (;;) {
      const slice = await terminal.read(offset, READ_BYTES_MAX);
      if (slice.bytes.length === 0) return offset > before;
      offset = slice.next;
      // What a tool tells is on its standard output; the rest is for people.
      if (follow.tells.by === 'stdout' && slice.stream === 'stdout') reader.feed(slice.bytes);
    }
  };

  const fromFiles = async (): Promise<boolean> => {
    const { transcript } = reader.progress();
    if (transcript && follow.transcripts && !sources.some(({ name }) => name === 'transcript')) {
      if (await isBelow(transcript, follow.transcripts))
        sources.push({ path: transcript, name: 'transcript', at: 0 });
    }
    let heard = false;
    for (const source of sources)
      heard = (await tail(source, (bytes) => reader.feed(bytes, source.name))) || heard;
    return heard;
  };

  return {
    async catchUp(terminal) {
      const recorded = terminal ? await fromRecording(terminal) : false;
      return (await fromFiles()) || recorded;
    },
    progress: () => reader.progress(),
    tally(lastActivityAt) {
      const p = reader.progress();
      return {
        outputBytes: offset,
        toolCalls: p.toolCalls,
        currentTool: p.currentTool,
        inputTokens: p.inputTokens,
        outputTokens: p.outputTokens,
        costUsd: p.costUsd,
        turns: p.turns,
        lastActivityAt,
      };
    },
  };
}

async function isBelow(path: string, root: string): Promise<boolean> {
  const [real, top] = await Promise.all([realpath(path), realpath(root)]).catch(() => [null, null]);
  return real !== null && top !== null && real.startsWith(`${top}/`);
}

/**
 * Feeds what was appended since; the instance owns the file, so links are not followed and its size is
 * bounded.
 */
async function tail(source: Source, feed: (bytes: Uint8Array) => void): Promise<boolean> {
  const file = await open(
    source.path,
    constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK,
  ).catch(() => null);
  if (!file) return false;
  try {
    const facts = await file.stat();
    if (!facts.isFile()) return false;
    let heard = false;
    const end = Math.min(facts.size, FILE_BYTES_MAX);
    while (source.at < end) {
      const bytes = new Uint8Array(Math.min(READ_BYTES_MAX, end - source.at));
      const { bytesRead } = await file.read(bytes, 0, bytes.length, source.at);
      if (bytesRead === 0) break;
      source.at += bytesRead;
      feed(bytes.subarray(0, bytesRead));
      heard = true;
    }
    return heard;
  } finally {
    await file.close();
  }
}

export const toolOf = (manifest: Manifest): Tool => toolNamed(manifest.agent.tool);

type Scope = EffectScope & { send(event: TaskHung): void };

/** The effect behind `task.follow`. */
export const follow =
  (house: House) =>
  (input: OfTask & { readonly run: Run }, scope: Scope): typeof listening => {
    const manifest = input.manifest as Manifest;
    const session = input.run.session.id;
    const { follow: following } = keptLaunch(input.run);
    const { agent } = input.run.session;
    const ears = listener(toolOf(manifest), seenFrom(house, agent as AgentId, following));
    let wake = Promise.withResolvers<void>();
    const off = house.signals.on(`recorded:${session}`, () => wake.resolve());
    scope.signal.addEventListener('abort', off, { once: true });
    const watch = hangWatch(house, manifest, input.task);
    const listen = async () => {
      let restingSince: number | null = null;
      while (!scope.signal.aborted) {
        const now = house.clock.now();
        if (await ears.catchUp(house.terminals.find(session))) watch.active(now);
        house.tallies.set(input.task, ears.tally(watch.lastAt()));
        const hung = watch.judge(now);
        if (hung) scope.send(hung);
        const { resting } = ears.progress();
        restingSince = resting && following.done === 'idle' ? (restingSince ?? now) : null;
        const { farewell } = following;
        if (restingSince !== null && now - restingSince >= (farewell?.restMs ?? 0)) {
          return await sayFarewell(house, session, { following, ears, signal: scope.signal });
        }
        await Promise.race([
          wake.promise.then(() => sleep(house.clock, 50)),
          sleep(house.clock, LOOK_EVERY_MS),
        ]);
        wake = Promise.withResolvers();
      }
    };
    listen().catch((thrown) => {
      if (!scope.signal.aborted)
        house.log.error('task not followed', { task: input.task, why: String(thrown) });
    });
    return listening;
  };

interface Parting {
  readonly following: Following;
  readonly ears: Listener;
  readonly signal: AbortSignal;
}

/** Ends a tool that rests, the way the tool likes to be ended; a person who types meanwhile keeps it. */
async function sayFarewell(
  house: House,
  session: SessionId,
  { following, ears, signal }: Parting,
): Promise<void> {
  const { farewell } = following;
  const isLive = () => house.fleet.isLive(`session:${session}`) && !signal.aborted;
  const agent = (house.fleet.context(`session:${session}`) as { agent: string } | null)?.agent;
  for (const [index, keys] of (farewell?.keys ?? []).entries()) {
    await ears.catchUp(house.terminals.find(session));
    if (!isLive() || !ears.progress().resting) break;
    const link = house.links.get(agent as never);
    await link?.type(session, new TextEncoder().encode(keys), {
      key: `${session}:farewell:${index}`,
      signal,
    });
    await sleep(house.clock, farewell?.pauseMs ?? 0, signal);
  }
  if (!isLive()) return;
  const graceMs = farewell?.graceMs ?? 5_000;
  const end = { type: 'end', at: house.clock.now(), by: 'house', graceMs, reason: 'the tool has finished' };
  house.fleet.note(`session:${session}`, end as Told);
}

/** Silence is a hang only while nobody is asked anything. */
function hangWatch(house: House, manifest: Manifest, task: string) {
  const { hang_timeout: after, hang_action: action } = manifest.lifecycle;
  const limitMs = after === 'none' ? null : durationMs(after);
  let lastAt = house.clock.now();
  let isTold = false;
  return {
    lastAt: () => lastAt,
    active(at: number) {
      lastAt = at;
      isTold = false;
    },
    judge(at: number): TaskHung | null {
      if (taskOf(house, task)?.hitl) lastAt = at;
      if (limitMs === null || isTold || at - lastAt < limitMs) return null;
      isTold = true;
      const message = `no output and no progress for ${after}`;
      return { type: 'task.hung', at, message, fatal: action === 'fail' };
    },
  };
}
