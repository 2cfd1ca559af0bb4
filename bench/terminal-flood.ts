/** The flood: a text file as a build or a test run would print it, and what of it must come out of a PTY. */
import { closeSync, openSync, writeSync } from 'node:fs';
import { crc32 } from 'node:zlib';

export interface Flood {
  readonly path: string;
  /** On the way out of a PTY every line end becomes two bytes. */
  readonly bytes: number;
  readonly crc: number;
}

/** Said before the flood, which waits for one line of input. */
export const READY = 'ready\n';
/** Quiet, so that what is typed to start it is no part of it. */
export const script = (path: string): string => `stty -echo; echo ready; read -r go; exec cat '${path}'`;

const LINES_A_BLOCK = 4_096;
const colours = [
  '\x1b[32mok\x1b[0m',
  '\x1b[33mwarn\x1b[0m',
  '\x1b[1;31mFAIL\x1b[0m',
  '\x1b[36minfo\x1b[0m',
  'note',
];
const words =
  'compile link test fetch unpack resolve check façade emit → bundle verify wait retry done'.split(' ');

function block(): string {
  const lines: string[] = [];
  let seed = 1;
  const next = (below: number) => {
    seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
    return (seed >> 8) % below;
  };
  for (let line = 0; line < LINES_A_BLOCK; line++) {
    const said = Array.from({ length: 3 + next(12) }, () => words[next(words.length)]).join(' ');
    lines.push(
      `[${String(line).padStart(6, '0')}] ${colours[next(colours.length)]} src/part-${next(97)}.ts:${next(400)}: ${said}\n`,
    );
  }
  return lines.join('');
}

/** About so many bytes: whole lines. */
export function makeFlood(path: string, bytes: number): Flood {
  const text = Buffer.from(block(), 'utf8');
  const fd = openSync(path, 'w', 0o600);
  const said = Buffer.from(READY.replaceAll('\n', '\r\n'));
  let crc = crc32(said);
  let out = said.length;
  for (let done = 0; done < bytes; ) {
    const rest = bytes - done;
    const part = rest >= text.length ? text : text.subarray(0, text.lastIndexOf(10, rest) + 1);
    if (part.length === 0) break;
    writeSync(fd, part);
    done += part.length;
    const shown = Buffer.from(part.toString('utf8').replaceAll('\n', '\r\n'), 'utf8');
    crc = crc32(shown, crc);
    out += shown.length;
  }
  closeSync(fd);
  return { path, bytes: out, crc };
}
