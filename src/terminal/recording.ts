/**
 * All the bytes a terminal ever said, in segment files named by their first offset.
 *
 * A byte is in the hands of the operating system when `output` returns, so it outlives the server. What could
 * not be written, and what the agent could not keep, is a gap with its length: never hidden, never filled.
 * Knows nothing of screens and viewers.
 */
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../clock.ts';
import type { Slice } from '../terminal.ts';
import {
  gapBytes,
  isOutput,
  type Kind,
  missingOf,
  PAYLOAD_BYTES_MAX,
  type RecordHead,
  type Stream,
  sizeBytes,
} from './records.ts';
import { type Found, Segment } from './segment.ts';

/** A segment is closed beyond it. */
export const SEGMENT_BYTES = 8 << 20;
/** After the disk has refused, how long it is left alone. */
const RETRY_MS = 1_000;
const REASON_MAX = 4_096;

export interface RecordingOptions {
  readonly dir: string;
  readonly clock: Clock;
  /** Once for every time the disk begins to refuse. */
  readonly onFailure: (reason: string) => void;
  /** Nothing is written and nothing is cut off; what is recorded after it was opened may be missing. */
  readonly isReadOnly?: boolean;
}

export interface Resize {
  /** The new size counts from this offset on. */
  readonly offset: number;
  readonly cols: number;
  readonly rows: number;
}

/** Ids of foreign agents may hold anything; a directory may not. */
export const directoryOf = (root: string, session: string): string =>
  join(
    root,
    /^[A-Za-z0-9][A-Za-z0-9_-]{0,120}$/.test(session)
      ? session
      : `x${Buffer.from(session).toString('hex').slice(0, 240)}`,
  );

export function sizeIn(segment: Segment, { head, at }: Found): Resize {
  const size = Buffer.alloc(4);
  segment.read(at, size);
  return { offset: head.offset, cols: size.readUInt16BE(0), rows: size.readUInt16BE(2) };
}

const nameOf = (first: number) => `${String(first).padStart(16, '0')}.rec`;

export class Recording {
  readonly #options: RecordingOptions;
  readonly #segments: Segment[];
  #reader: Segment | null = null;
  #next = 0;
  /** Bytes that were said and could not be written. */
  #lost = 0;
  #refusedAt: number | null = null;
  #isEnded = false;

  constructor(options: RecordingOptions) {
    this.#options = options;
    const names = existsSync(options.dir)
      ? readdirSync(options.dir).filter((name) => /^\d{16}\.rec$/.test(name))
      : [];
    this.#segments = names
      .toSorted()
      .map((name) => new Segment(join(options.dir, name), Number(name.slice(0, 16))));
    const last = this.#segments.at(-1);
    if (!last) return;
    if (options.isReadOnly) last.tally();
    else last.openForWriting();
    this.#next = last.next;
  }

  static exists(dir: string): boolean {
    return existsSync(dir) && readdirSync(dir).some((name) => name.endsWith('.rec'));
  }

  /** Everything below is recorded, or is a recorded gap. */
  get next(): number {
    return this.#next + this.#lost;
  }

  /** The oldest offset there is. */
  get first(): number {
    return this.#segments[0]?.first ?? 0;
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }

  /** Oldest first; the last one may still grow. */
  get segments(): readonly Segment[] {
    return this.#segments;
  }

  /** How many of the bytes are new; they are in the recording, or known to be lost. */
  output(
    stream: Stream,
    bytes: Uint8Array,
    offset: number | null,
  ): { fresh: Uint8Array; from: number; gap: number } {
    const at = offset ?? this.next;
    const held = Math.min(Math.max(0, this.next - at), bytes.length);
    const fresh = bytes.subarray(held);
    const gap = Math.max(0, at - this.next);
    if (fresh.length === 0) return { fresh, from: this.next, gap: 0 };
    if (gap > 0) this.#lost += gap;
    const from = this.next;
    this.#keep(stream, fresh);
    return { fresh, from, gap };
  }

  resized(cols: number, rows: number): void {
    this.#note('resize', sizeBytes(cols, rows));
  }

  ended(exitCode: number | null, reason: string): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#note('end', Buffer.from(JSON.stringify({ exitCode, reason: reason.slice(0, REASON_MAX) })));
  }

  /**
   * Bytes of one stream from `from` on; empty at the end. They are in `into` when that is given, until it is
   * used again.
   */
  slice(from: number, maxBytes: number, into?: Buffer): Slice {
    const { segment, found } = this.#find(from);
    if (!segment || !found) return this.#nothing(from);
    if (found.head.kind === 'gap') {
      const rest = this.slice(found.head.offset + this.missingIn(segment, found), maxBytes, into);
      return { ...rest, gapBytes: rest.from - from };
    }
    const start = Math.max(from, found.head.offset);
    const room = into ?? Buffer.allocUnsafe(Math.max(0, Math.min(maxBytes, this.#next - start)));
    let length = 0;
    let record: Found | null = found;
    const stream = found.head.kind as Stream;
    while (record && length < maxBytes && (record.head.kind === stream || record.head.kind === 'resize')) {
      if (record.head.kind === stream) {
        const skip = Math.max(0, start - record.head.offset);
        const want = Math.min(record.head.bytes - skip, maxBytes - length);
        const got = segment.read(record.at + skip, room.subarray(length, length + want));
        length += got;
        if (got < want) break;
      }
      record = segment.after(record);
    }
    const bytes = room.length === length ? room : room.subarray(0, length);
    return { from: start, stream, bytes, next: start + length, gapBytes: start - from, at: found.head.at };
  }

  /** Changes of size from one offset to another, both included, oldest first. */
  resizes(from: number, to = Number.POSITIVE_INFINITY): Resize[] {
    return this.notes(from, to).flatMap(({ segment, note }) =>
      note.head.kind === 'resize' ? [sizeIn(segment, note)] : [],
    );
  }

  /** Changes of size, gaps and the end from one offset to another, both included, oldest first. */
  notes(from: number, to = Number.POSITIVE_INFINITY): { segment: Segment; note: Found }[] {
    const found: { segment: Segment; note: Found }[] = [];
    for (const [i, segment] of this.#segments.entries()) {
      const following = this.#segments[i + 1];
      if (following && following.first < from) continue;
      if (segment.first > to) break;
      for (const note of segment.notes()) {
        if (note.head.offset >= from && note.head.offset <= to) found.push({ segment, note });
      }
      if (following) segment.close();
    }
    return found;
  }

  /** How many bytes a gap stands for. */
  missingIn(segment: Segment, { at }: Found): number {
    const missing = new Uint8Array(8);
    segment.read(at, missing);
    return missingOf(missing);
  }

  /** The record that holds the byte at an offset; of one that is missing, the one after its gap. */
  headAt(offset: number): RecordHead | null {
    const { segment, found } = this.#find(offset);
    const isGap = found?.head.kind === 'gap';
    return (isGap ? segment?.after(found)?.head : found?.head) ?? found?.head ?? null;
  }

  /** Its size at the beginning; null for what has no screen. */
  firstSize(): Resize | null {
    const [segment] = this.#segments;
    for (const found of segment?.records() ?? []) {
      if (found.head.kind === 'resize') return sizeIn(segment as Segment, found);
      if (found.head.offset > 0) return null;
    }
    return null;
  }

  /** How it ended, when that was recorded. */
  ending(): { readonly exitCode: number | null; readonly reason: string } | null {
    const last = this.#segments.at(-1);
    let found: { exitCode: number | null; reason: string } | null = null;
    for (const { head, at } of last?.notes() ?? []) {
      if (head.kind !== 'end') continue;
      const text = Buffer.alloc(head.bytes);
      last?.read(at, text);
      found = JSON.parse(text.toString('utf8')) as { exitCode: number | null; reason: string };
    }
    return found;
  }

  close(): void {
    for (const segment of this.#segments) segment.close();
  }

  async erase(): Promise<void> {
    this.close();
    await rm(this.#options.dir, { recursive: true, force: true });
  }

  #nothing(from: number): Slice {
    // What was lost at the very end is a gap too, as soon as something can be written after it.
    return {
      from,
      stream: 'stdout',
      bytes: new Uint8Array(),
      next: from,
      gapBytes: 0,
      at: this.#options.clock.now(),
    };
  }

  #find(from: number): { segment: Segment | null; found: Found | null } {
    let index = Math.max(0, this.#segments.length - 1);
    while (index > 0 && (this.#segments[index] as Segment).first > from) index -= 1;
    for (; index < this.#segments.length; index++) {
      const segment = this.#segments[index] as Segment;
      this.#isRead(segment);
      const found = segment.find(from);
      if (found) return { segment, found };
    }
    return { segment: null, found: null };
  }

  /** One older file is open at a time, however long the recording. */
  #isRead(segment: Segment): void {
    if (this.#reader !== segment && this.#reader !== this.#segments.at(-1)) this.#reader?.close();
    this.#reader = segment;
  }

  #keep(stream: Stream, bytes: Uint8Array): void {
    const { clock, onFailure } = this.#options;
    const at = clock.now();
    if (this.#refusedAt !== null && at - this.#refusedAt < RETRY_MS) {
      this.#lost += bytes.length;
      return;
    }
    for (let done = 0; done < bytes.length; ) {
      const part = bytes.subarray(done, done + PAYLOAD_BYTES_MAX);
      try {
        this.#write(stream, part, at);
      } catch (thrown) {
        if (this.#refusedAt === null) onFailure(thrown instanceof Error ? thrown.message : String(thrown));
        this.#refusedAt = at;
        this.#lost += bytes.length - done;
        return;
      }
      this.#refusedAt = null;
      done += part.length;
    }
  }

  /** For what is good to have and not to be counted on. */
  #note(kind: Kind, payload: Uint8Array): void {
    try {
      this.#write(kind, payload, this.#options.clock.now());
    } catch (thrown) {
      this.#options.onFailure(thrown instanceof Error ? thrown.message : String(thrown));
    }
  }

  #write(kind: Kind, payload: Uint8Array, at: number): void {
    if (this.#lost > 0) {
      const missing = this.#lost;
      this.#segment().append({ kind: 'gap', bytes: 8, at, offset: this.#next }, gapBytes(missing));
      this.#next += missing;
      this.#lost = 0;
    }
    this.#segment().append({ kind, bytes: payload.length, at, offset: this.#next }, payload);
    if (isOutput(kind)) this.#next += payload.length;
  }

  #segment(): Segment {
    const last = this.#segments.at(-1);
    if (last && last.bytes < SEGMENT_BYTES) return last;
    const { dir } = this.#options;
    if (!last) mkdirSync(dir, { recursive: true, mode: 0o700 });
    const segment = new Segment(join(dir, nameOf(this.#next)), this.#next);
    segment.openForWriting();
    this.#segments.push(segment);
    last?.close();
    return segment;
  }
}
