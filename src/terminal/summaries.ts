/**
 * What is to be told of a recording without reading it: counted once, and kept beside it when it has ended.
 *
 * A live one is counted as it grows, by its own segments. Of others every segment is indexed once, within the
 * budget of the call; what was counted is kept for the next one.
 */
import { readdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { SessionId } from '../ids.ts';
import type { Budget, RecordingFacts } from '../recordings.ts';
import { type Recording, SEGMENT_BYTES, sizeIn } from './recording.ts';

/** Ended recordings whose numbers are kept in memory: 200 bytes each. */
const KEPT_MAX = 10_000;
/** Half-counted ones that are kept for the next call. */
const PARTIAL_MAX = 16;
const FILE = 'summary.json';

type Counts = Omit<RecordingFacts, 'bytesOnDisk'>;

interface Kept {
  /** Of its segments: with other ones it is of no use. */
  readonly segments: number;
  readonly segmentBytes: number;
  readonly counts: Counts;
}

interface OnDisk {
  readonly bytes: number;
  readonly segments: number;
  readonly segmentBytes: number;
}

export interface SummaryOptions {
  readonly dirOf: (session: SessionId) => string;
  /** The one that is being written; null for others. */
  readonly live: (session: SessionId) => Recording | null;
  readonly open: (session: SessionId) => Recording;
}

export class Summaries {
  readonly #options: SummaryOptions;
  readonly #kept = new Map<SessionId, RecordingFacts>();
  readonly #partial = new Map<SessionId, Recording>();

  constructor(options: SummaryOptions) {
    this.#options = options;
  }

  async of(session: SessionId, budget: Budget): Promise<RecordingFacts | null> {
    const { live, dirOf } = this.#options;
    const growing = live(session);
    if (growing) {
      const counts = await count(growing, budget);
      return counts && { ...counts, bytesOnDisk: (await onDisk(dirOf(session))).bytes };
    }
    return this.#kept.get(session) ?? (await this.#ended(session, budget));
  }

  drop(session: SessionId): void {
    this.#kept.delete(session);
    this.#partial.get(session)?.close();
    this.#partial.delete(session);
  }

  async #ended(session: SessionId, budget: Budget): Promise<RecordingFacts | null> {
    const dir = this.#options.dirOf(session);
    const { bytes: bytesOnDisk, ...files } = await onDisk(dir);
    const counts = (await readKept(dir, files)) ?? (await this.#count(session, budget));
    if (!counts) return null;
    const facts = { ...counts, bytesOnDisk };
    if (counts.gaps === null) return facts;
    keepFirst(this.#kept, KEPT_MAX - 1);
    this.#kept.set(session, facts);
    return facts;
  }

  async #count(session: SessionId, budget: Budget): Promise<Counts | null> {
    if (budget.bytes <= 0) return null;
    const begun = this.#partial.get(session);
    const recording = begun ?? this.#options.open(session);
    // Its last segment was indexed when it was opened.
    if (!begun) budget.bytes -= recording.segments.at(-1)?.bytes ?? 0;
    const counts = await count(recording, budget);
    recording.close();
    if (counts?.gaps) {
      this.#partial.delete(session);
      await keep(this.#options.dirOf(session), counts);
      return counts;
    }
    for (const old of keepFirst(this.#partial, PARTIAL_MAX - 1)) old.close();
    this.#partial.set(session, recording);
    return counts;
  }
}

/** Drops the oldest until there are no more than `most`. */
function keepFirst<K, V>(map: Map<K, V>, most: number): V[] {
  const dropped = [...map].slice(0, Math.max(0, map.size - most));
  for (const [key] of dropped) map.delete(key);
  return dropped.map(([, value]) => value);
}

async function onDisk(dir: string): Promise<OnDisk> {
  const names = await readdir(dir).catch(() => []);
  let bytes = 0;
  let segments = 0;
  let segmentBytes = 0;
  for (const name of names) {
    const { size } = await stat(join(dir, name)).catch(() => ({ size: 0 }));
    bytes += size;
    if (!name.endsWith('.rec')) continue;
    segments += 1;
    segmentBytes += size;
  }
  return { bytes, segments, segmentBytes };
}

async function readKept(dir: string, files: Omit<OnDisk, 'bytes'>): Promise<Counts | null> {
  try {
    const kept = JSON.parse(await readFile(join(dir, FILE), 'utf8')) as Kept;
    const isOf = kept.segments === files.segments && kept.segmentBytes === files.segmentBytes;
    return isOf ? kept.counts : null;
  } catch {
    return null; // None yet, or torn: it is counted again.
  }
}

async function keep(dir: string, counts: Counts): Promise<void> {
  const { bytes: _, ...files } = await onDisk(dir);
  const path = join(dir, FILE);
  // Without it the next server counts again.
  await writeFile(`${path}.new`, JSON.stringify({ ...files, counts } satisfies Kept), { mode: 0o600 })
    .then(() => rename(`${path}.new`, path))
    .catch(() => {});
}

/** Null when the budget does not even do for the first and the last segment. */
async function count(recording: Recording, budget: Budget): Promise<Counts | null> {
  const { segments } = recording;
  const last = segments.at(-1);
  const [first] = segments;
  if (!first || !last) return { ...nothing, nextOffset: recording.next };
  for (const segment of new Set([last, first, ...segments])) {
    if (segment.isKnown) continue;
    if (budget.bytes <= 0) break;
    segment.tally();
    if (segment !== last) segment.close();
    budget.bytes -= Math.min(SEGMENT_BYTES, segment.bytes) + 1;
    await new Promise((resolve) => setImmediate(resolve));
  }
  if (!first.isKnown || !last.isKnown) return null;
  const isWhole = segments.every((segment) => segment.isKnown);
  const tallies = segments.flatMap((segment) => (segment.isKnown ? [segment.tally()] : []));
  const gaps = {
    count: tallies.reduce((sum, tally) => sum + tally.gaps, 0),
    bytes: tallies.reduce((sum, tally) => sum + tally.gapBytes, 0),
  };
  return {
    nextOffset: recording.next,
    gaps: isWhole ? gaps : null,
    outputBytes: isWhole ? recording.next - recording.first - gaps.bytes : null,
    firstAt: first.tally().firstAt,
    lastAt: tallies.findLast((tally) => tally.lastAt !== null)?.lastAt ?? null,
    size: lastSize(recording),
  };
}

const nothing: Counts = {
  nextOffset: 0,
  gaps: { count: 0, bytes: 0 },
  outputBytes: 0,
  firstAt: null,
  lastAt: null,
  size: null,
};

/** Of what is known of it. */
function lastSize(recording: Recording): { cols: number; rows: number } | null {
  if (!recording.firstSize()) return null;
  for (const segment of recording.segments.toReversed()) {
    if (!segment.isKnown) continue;
    const note = segment.notes().findLast(({ head }) => head.kind === 'resize');
    if (!note) continue;
    const { cols, rows } = sizeIn(segment, note);
    return { cols, rows };
  }
  return null;
}
