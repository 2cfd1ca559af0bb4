/**
 * What an answer came to that was left before it told what it used: guessed from its length, so that nobody
 * gets one for nothing by leaving just before its end.
 */
import type { Tokens } from '../spending.ts';

/** Of English text; of code it is less, so a guess is rather too low than too high. */
const CHARS_A_TOKEN = 4;
/** A longer line is counted by its bytes. */
const LINE_BYTES_MAX = 1 << 20;
const LF = 10;

const tokensIn = (chars: number): number => Math.ceil(chars / CHARS_A_TOKEN);

/** `told`: as far as the answer had come; a provider counts up. */
export function guessed(told: Tokens, { asked, written }: { asked: number; written: number }): Tokens {
  const isRead = told.input + told.cacheRead + told.cacheWrite + told.cacheWriteLong > 0;
  const input = isRead ? told.input : tokensIn(asked);
  return { ...told, input, output: Math.max(told.output, tokensIn(written)) };
}

/** Characters of a request that a model reads as text: pictures and files in it are not. */
export const charsAsked = (body: string): number =>
  body.replace(/"data:[^",]{0,200};base64,[A-Za-z0-9+/=]*"/g, '').length;

/** Counts the characters that a model has written. */
export interface Written {
  feed(bytes: Uint8Array): void;
  readonly chars: number;
}

/** `isStream`: of events only what is under `delta` was written by the model. */
export function written(isStream: boolean): Written {
  let chars = 0;
  let rest = Buffer.alloc(0);
  const take = (line: Buffer) => {
    if (line.includes('"delta"')) chars += charsIn(line);
  };
  return {
    feed(bytes) {
      if (!isStream) {
        chars += bytes.length;
        return;
      }
      const buffer = Buffer.concat([rest, bytes]);
      let from = 0;
      for (let to = buffer.indexOf(LF); to >= 0; to = buffer.indexOf(LF, from)) {
        take(buffer.subarray(from, to));
        from = to + 1;
      }
      rest = Buffer.from(buffer.subarray(from));
      if (rest.length <= LINE_BYTES_MAX) return;
      chars += rest.length;
      rest = Buffer.alloc(0);
    },
    get chars() {
      return chars;
    },
  };
}

type Json = Readonly<Record<string, unknown>>;

function charsIn(line: Buffer): number {
  try {
    const event = JSON.parse(line.toString('utf8').replace(/^data:/, '')) as Json;
    const choices = Array.isArray(event['choices']) ? (event['choices'] as readonly Json[]) : [];
    return [event, ...choices].reduce((sum, { delta }) => sum + textIn(delta), 0);
  } catch {
    return 0; // No event of ours.
  }
}

function textIn(value: unknown): number {
  if (typeof value === 'string') return value.length;
  if (typeof value !== 'object' || value === null) return 0;
  return Object.values(value).reduce((sum: number, one) => sum + textIn(one), 0);
}
