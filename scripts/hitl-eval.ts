/**
 * Measures the readers of questions against a corpus: `bun run hitl:eval DIR [--json]`.
 *
 *   DIR/<case>/recording.cast   asciicast v2, judged at its end
 *   DIR/<case>/expected.json    {"asking":bool,"kind"?:"confirm|choice|text|secret",
 *                                 "question"?:"substring","options"?:n}
 *
 * Precision and recall are of asking; kind, question and options are judged over the questions rightly found
 * whose case says what to expect. Exit code 0 once the corpus was measured, however well it went; 2 when a
 * case (named, with its fault) or the whole corpus cannot be read; the readable cases are measured all the
 * same; 64 for a mistake in the arguments.
 */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Terminal } from '@xterm/headless';
import { askingThreshold, readQuestion } from '../src/terminal/asking.ts';
import { screenFacts } from '../src/terminal/asking-screen.ts';
import type { AskedOnScreen } from '../src/terminal.ts';
import { readWords, wrongUse } from './arguments.ts';

const usage = `Usage: bun run hitl:eval DIR [--json]

Measures the readers of questions against the recordings of DIR, such as tests/transcripts. Exits with 0 when all
was measured, however well it went; with 2 when a case, or DIR, cannot be read; with 64 for a mistake in the arguments.

  --json   one JSON object at the end
`;

const kinds = ['confirm', 'choice', 'text', 'secret'] as const;

export interface ExpectedCase {
  readonly asking: boolean;
  readonly kind?: (typeof kinds)[number];
  readonly question?: string;
  readonly options?: number;
}

export interface Got {
  readonly asking: boolean;
  readonly kind?: string;
  readonly question?: string;
  readonly options?: number;
  readonly confidence?: number;
}

export interface Miss {
  readonly case: string;
  readonly expected: ExpectedCase;
  readonly got: Got;
}

export interface Verdict {
  readonly cases: number;
  readonly precision: number;
  readonly recall: number;
  readonly kind: number;
  readonly question: number;
  readonly options: number;
  readonly misses: readonly Miss[];
  /** Cases that could not be read, and so were not measured; absent when there are none. */
  readonly errors?: readonly string[];
}

/** A corpus that cannot be read: says which file and what is wrong with it. */
export class CorpusError extends Error {}

export async function evaluate(folder: string): Promise<Verdict> {
  const names = caseNames(folder);
  const misses: Miss[] = [];
  const counts = { asked: 0, rightly: 0, wanted: 0 };
  const parts = { kind: [0, 0], question: [0, 0], options: [0, 0] } satisfies Record<
    string,
    [number, number]
  >;
  const errors: string[] = [];
  for (const name of names) {
    const read = await readCase(join(folder, name));
    if (read instanceof CorpusError) {
      errors.push(read.message);
      continue;
    }
    const { expected, got } = read;
    if (got.asking) counts.asked++;
    if (expected.asking) counts.wanted++;
    let right = got.asking === expected.asking;
    if (got.asking && expected.asking) {
      counts.rightly++;
      for (const part of ['kind', 'question', 'options'] as const) {
        if (expected[part] === undefined) continue;
        const same =
          part === 'question' ? holds(got.question, expected.question) : got[part] === expected[part];
        parts[part][1]++;
        if (same) parts[part][0]++;
        else right = false;
      }
    }
    if (!right) misses.push({ case: name, expected, got });
  }
  return {
    cases: names.length - errors.length,
    precision: ratio(counts.rightly, counts.asked),
    recall: ratio(counts.rightly, counts.wanted),
    kind: ratio(...pair(parts.kind)),
    question: ratio(...pair(parts.question)),
    options: ratio(...pair(parts.options)),
    misses,
    ...(errors.length === 0 ? {} : { errors }),
  };
}

async function readCase(folder: string): Promise<{ expected: ExpectedCase; got: Got } | CorpusError> {
  try {
    const expected = readExpected(join(folder, 'expected.json'));
    return { expected, got: gotOf(await readRecording(join(folder, 'recording.cast'))) };
  } catch (error) {
    if (error instanceof CorpusError) return error;
    throw error;
  }
}

function pair(counts: number[]): [number, number] {
  return [counts[0] ?? 0, counts[1] ?? 0];
}

/** Nothing to be wrong about is right. */
function ratio(part: number, whole: number): number {
  return whole === 0 ? 1 : Math.round((part / whole) * 10_000) / 10_000;
}

function holds(got: string | undefined, wanted: string | undefined): boolean {
  const plain = (text: string | undefined) => (text ?? '').replace(/\s+/gu, ' ').trim().toLowerCase();
  return plain(got).includes(plain(wanted));
}

function gotOf(question: AskedOnScreen | null): Got {
  if (question === null) return { asking: false };
  const { kind, confidence } = question;
  const asking = confidence >= askingThreshold;
  return { asking, kind, question: question.question, options: question.options.length, confidence };
}

function caseNames(folder: string): string[] {
  if (!existsSync(folder) || !statSync(folder).isDirectory())
    throw new CorpusError(`read corpus ${folder}: no such directory`);
  const names = readdirSync(folder)
    .filter((name) => statSync(join(folder, name)).isDirectory())
    .sort();
  if (names.length === 0)
    throw new CorpusError(
      `read corpus ${folder}: it has no cases (a case is a directory with recording.cast and expected.json)`,
    );
  return names;
}

export function readExpected(file: string): ExpectedCase {
  const value = parsed(text(file), file);
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new CorpusError(`${file}: must be a JSON object`);
  const wanted: Partial<Record<string, unknown>> = { ...value };
  const wrong = (field: string, cure: string) => new CorpusError(`${file}: "${field}" ${cure}`);
  if (typeof wanted.asking !== 'boolean') throw wrong('asking', 'must be true or false');
  const kind = kinds.find((each) => each === wanted.kind);
  if (wanted.kind !== undefined && kind === undefined)
    throw wrong('kind', `must be one of ${kinds.join(', ')}`);
  if (wanted.question !== undefined && typeof wanted.question !== 'string')
    throw wrong('question', 'must be a string');
  if (wanted.options !== undefined && !Number.isInteger(wanted.options))
    throw wrong('options', 'must be a whole number');
  return {
    asking: wanted.asking,
    ...(kind === undefined ? {} : { kind }),
    ...(typeof wanted.question === 'string' ? { question: wanted.question } : {}),
    ...(typeof wanted.options === 'number' ? { options: wanted.options } : {}),
  };
}

/** Plays a recording to its end and reads the screen that is left. */
export async function readRecording(file: string): Promise<AskedOnScreen | null> {
  const term = await playRecording(file);
  const question = readQuestion(screenFacts(term, null));
  term.dispose();
  return question;
}

export async function playRecording(file: string): Promise<Terminal> {
  const lines = text(file)
    .split('\n')
    .filter((line) => line.trim() !== '');
  const header = Object(parsed(lines[0] ?? '', file, 1));
  const size = (value: unknown) =>
    typeof value === 'number' && Number.isInteger(value) && value > 0 && value <= 2000;
  if (header.version !== 2) throw new CorpusError(`${file}: line 1: "version" must be 2 (asciicast v2)`);
  if (!size(header.width) || !size(header.height))
    throw new CorpusError(`${file}: line 1: "width" and "height" must be numbers from 1 to 2000`);
  const term = new Terminal({
    cols: header.width,
    rows: header.height,
    scrollback: 1000,
    allowProposedApi: true,
  });
  for (const [index, line] of lines.entries()) {
    if (index > 0) await play(term, parsed(line, file, index + 1), `${file}: line ${index + 1}`);
  }
  return term;
}

async function play(term: Terminal, event: unknown, where: string): Promise<void> {
  if (
    !Array.isArray(event) ||
    typeof event[0] !== 'number' ||
    typeof event[1] !== 'string' ||
    typeof event[2] !== 'string'
  ) {
    throw new CorpusError(`${where}: an event must be [seconds, code, text]`);
  }
  const payload = event[2];
  if (event[1] === 'o') await new Promise<void>((done) => term.write(payload, done));
  if (event[1] === 'r') {
    const [cols, rows] = payload.split('x').map(Number);
    if (!cols || !rows) throw new CorpusError(`${where}: a resize must be "COLSxROWS"`);
    term.resize(cols, rows);
  }
}

function text(file: string): string {
  if (!existsSync(file)) throw new CorpusError(`${file}: missing`);
  return readFileSync(file, 'utf8');
}

function parsed(json: string, file: string, line?: number): unknown {
  try {
    return JSON.parse(json);
  } catch (error) {
    const where = line === undefined ? file : `${file}: line ${line}`;
    throw new CorpusError(`${where}: not JSON (${error instanceof Error ? error.message : String(error)})`);
  }
}

function report(verdict: Verdict): string {
  const line = (name: string, value: number) => `${name.padEnd(10)} ${value.toFixed(4)}`;
  const misses = verdict.misses.map(
    (miss) =>
      `  ${miss.case}\n    expected ${JSON.stringify(miss.expected)}\n    got      ${JSON.stringify(miss.got)}`,
  );
  return [
    `${verdict.cases} cases`,
    line('precision', verdict.precision),
    line('recall', verdict.recall),
    line('kind', verdict.kind),
    line('question', verdict.question),
    line('options', verdict.options),
    misses.length === 0 ? 'no misses' : `misses (${misses.length}):`,
    ...misses,
  ].join('\n');
}

if (import.meta.main) {
  const { values, positionals } = readWords(usage, () =>
    parseArgs({
      options: {
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
      allowPositionals: true,
    }),
  );
  const [folder, more] = positionals;
  if (folder === undefined) wrongUse(usage, 'DIR is missing');
  if (more !== undefined) wrongUse(usage, `one DIR is measured at a time, and "${more}" is another`);
  try {
    const verdict = await evaluate(folder);
    console.log(report(verdict));
    for (const error of verdict.errors ?? []) console.error(`hitl:eval: ${error}`);
    if (values.json) console.log(JSON.stringify(verdict));
    if (verdict.errors !== undefined) process.exitCode = 2;
  } catch (error) {
    if (!(error instanceof CorpusError)) throw error;
    console.error(`hitl:eval: ${error.message}`);
    process.exit(2);
  }
}
