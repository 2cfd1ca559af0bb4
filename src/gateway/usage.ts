/**
 * Reads what an answer used, whole or streamed, off its bytes as they pass; never changes one. A reader keeps
 * at most one line (`LINE_BYTES_MAX`), and parses only lines that can hold usage. What an answer says last
 * stands: providers count up.
 */
import { noTokens, type Tokens } from '../spending.ts';
import type { Counting } from './dialect.ts';
import { guessed, written } from './guess.ts';

/** A `response.completed` repeats the whole answer. */
const LINE_BYTES_MAX = 8 << 20;
/** Of an answer that is not streamed no more is kept to be parsed. */
const WHOLE_BYTES_MAX = 32 << 20;

export interface Used {
  /** As the answer names it; null: it does not. */
  readonly model: string | null;
  readonly tokens: Tokens;
}

export interface UsageReader {
  feed(bytes: Uint8Array): void;
  /** Null: it told nothing that costs. */
  used(): Used | null;
  /** Of an answer that was left before its end; `asked` is the length of the request in characters. */
  left(asked: number): Used;
}

type Json = Readonly<Record<string, unknown>>;

const map = (value: unknown): Json | null =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : null;
const count = (from: Json | null, name: string): number | null => {
  const value = from?.[name];
  return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? Math.round(value) : null;
};

/** Takes one JSON value of the answer; merges it into what is known. */
type Reading = (value: Json, known: Used) => Used | null;

/** Later events repeat some counts and leave out others. */
const anthropic: Reading = (value, known) => {
  const message = map(value['message']) ?? value;
  const usage = map(value['usage']) ?? map(message['usage']);
  if (!usage) return null;
  const model = typeof message['model'] === 'string' ? message['model'] : known.model;
  const written = map(usage['cache_creation']);
  const long = count(written, 'ephemeral_1h_input_tokens') ?? known.tokens.cacheWriteLong;
  const writes = count(usage, 'cache_creation_input_tokens');
  return {
    model,
    tokens: {
      input: count(usage, 'input_tokens') ?? known.tokens.input,
      output: count(usage, 'output_tokens') ?? known.tokens.output,
      cacheRead: count(usage, 'cache_read_input_tokens') ?? known.tokens.cacheRead,
      cacheWrite: writes === null ? known.tokens.cacheWrite : Math.max(0, writes - long),
      cacheWriteLong: long,
    },
  };
};

/** `of` names what a dialect calls its counts. Cached tokens are part of what was read. */
const openai =
  (of: { input: string; output: string; details: string }): Reading =>
  (value, known) => {
    const answer = map(value['response']) ?? value;
    const usage = map(answer['usage']);
    if (!usage) return null;
    const cached = count(map(usage[of.details]), 'cached_tokens') ?? 0;
    return {
      model: typeof answer['model'] === 'string' ? answer['model'] : known.model,
      tokens: {
        ...noTokens,
        input: Math.max(0, (count(usage, of.input) ?? 0) - cached),
        output: count(usage, of.output) ?? 0,
        cacheRead: cached,
      },
    };
  };

const readings: Readonly<Record<Exclude<Counting, 'none'>, Reading>> = {
  anthropic,
  chat: openai({ input: 'prompt_tokens', output: 'completion_tokens', details: 'prompt_tokens_details' }),
  responses: openai({ input: 'input_tokens', output: 'output_tokens', details: 'input_tokens_details' }),
};

function parsed(text: string): Json | null {
  try {
    return map(JSON.parse(text));
  } catch {
    return null; // An answer that was cut off, or none of ours.
  }
}

export function usageReader(counting: Exclude<Counting, 'none'>, isStream: boolean): UsageReader {
  const reading = readings[counting];
  let known: Used = { model: null, tokens: noTokens };
  let isTold = false;
  // The first event of one dialect has a count already, of what was read.
  let isCounted = false;
  const take = (value: Json | null): void => {
    const read = value && reading(value, known);
    if (!read) return;
    known = read;
    isTold = true;
    isCounted ||= value['type'] !== 'message_start';
  };
  const feed = isStream ? lines((line) => take(dataOf(line))) : null;
  const whole: Uint8Array[] = [];
  let size = 0;
  const by = written(isStream);
  const used = (): Used | null => {
    if (whole.length > 0) take(parsed(Buffer.concat(whole.splice(0)).toString('utf8')));
    return isTold ? known : null;
  };
  return {
    feed(bytes) {
      by.feed(bytes);
      if (feed) return feed(bytes);
      size += bytes.length;
      if (size <= WHOLE_BYTES_MAX) whole.push(bytes);
    },
    used,
    left(asked) {
      used();
      return isCounted ? known : { ...known, tokens: guessed(known.tokens, { asked, written: by.chars }) };
    },
  };
}

const usageWord = Buffer.from('"usage"');

/** The JSON of a `data:` line that can hold usage. */
function dataOf(line: Buffer): Json | null {
  if (!line.includes(usageWord) || !line.subarray(0, 5).equals(Buffer.from('data:'))) return null;
  return parsed(line.subarray(5).toString('utf8'));
}

const LF = 10;

/**
 * Finds the lines that hold the word, wherever the bytes were cut; all others are passed over without a look
 * at each. A line that is too long is passed over too.
 */
function lines(take: (line: Buffer) => void): (bytes: Uint8Array) => void {
  let rest: Buffer[] = [];
  let size = 0;
  const keep = (piece: Buffer): void => {
    size += piece.length;
    // Copied: whoever gave the bytes may use their memory again.
    if (size <= LINE_BYTES_MAX) rest.push(Buffer.from(piece));
    else rest = [];
  };
  return (bytes) => {
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const last = buffer.lastIndexOf(LF);
    if (last < 0) return keep(buffer);
    let from = 0;
    if (size > 0) {
      from = buffer.indexOf(LF) + 1;
      if (size + from <= LINE_BYTES_MAX) take(Buffer.concat([...rest, buffer.subarray(0, from - 1)]));
      rest = [];
      size = 0;
    }
    for (
      let at = buffer.indexOf(usageWord, from);
      at >= 0 && at < last;
      at = buffer.indexOf(usageWord, from)
    ) {
      const to = buffer.indexOf(LF, at);
      take(buffer.subarray(Math.max(from, buffer.lastIndexOf(LF, at) + 1), to));
      from = to + 1;
    }
    if (last + 1 < buffer.length) keep(buffer.subarray(last + 1));
  };
}
