/**
 * Chat Completions tell their usage in a stream only to who asks for it, in a last chunk of its own. Where a
 * tool has not asked, we do, and take that chunk out again, so that the tool sees the stream it asked for.
 */
const EVENT_BYTES_MAX = 1 << 20;

type Json = Readonly<Record<string, unknown>>;

/** Null: it is asked for already, or nothing is streamed. */
export function askingForUsage(body: Json): Json | null {
  if (body['stream'] !== true) return null;
  const given = body['stream_options'];
  const options = typeof given === 'object' && given !== null ? (given as Json) : {};
  return options['include_usage'] === true
    ? null
    : { ...body, stream_options: { ...options, include_usage: true } };
}

/** The last chunk has no choices and all the usage; nothing else is taken out. */
function isUsageOnly(event: Buffer): boolean {
  const text = event.toString('utf8').trim();
  if (!text.startsWith('data:') || !text.includes('"usage"')) return false;
  try {
    const { choices, usage } = JSON.parse(text.slice('data:'.length)) as Json;
    return Array.isArray(choices) && choices.length === 0 && typeof usage === 'object' && usage !== null;
  } catch {
    return false;
  }
}

const LF = 10;
const CR = 13;

/** Where the first event of it ends, blank line and all; -1: not in here. */
function endOfEvent(bytes: Buffer, from: number): number {
  for (let at = bytes.indexOf(LF, from); at >= 0; at = bytes.indexOf(LF, at + 1)) {
    if (bytes[at + 1] === LF) return at + 2;
    if (bytes[at + 1] === CR && bytes[at + 2] === LF) return at + 3;
  }
  return -1;
}

/** Call with null at the end. What it gives is to be sent on; it may be empty. */
export function withoutUsageChunk(): (bytes: Uint8Array | null) => Uint8Array {
  let rest = Buffer.alloc(0);
  return (bytes) => {
    if (bytes === null) return rest;
    const buffer = Buffer.concat([rest, bytes]);
    const kept: Buffer[] = [];
    let from = 0;
    for (let to = endOfEvent(buffer, from); to >= 0; to = endOfEvent(buffer, from)) {
      const event = buffer.subarray(from, to);
      if (!isUsageOnly(event)) kept.push(event);
      from = to;
    }
    rest = buffer.subarray(from);
    // No chunk of usage is as long; it is sent on as it comes.
    if (rest.length > EVENT_BYTES_MAX) {
      kept.push(rest);
      rest = Buffer.alloc(0);
    }
    return Buffer.concat(kept);
  };
}
