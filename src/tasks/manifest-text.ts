/**
 * From the text of a manifest to an unchecked value. Bounded in size, depth and aliases; never throws
 * anything but a Failure.
 */
import { LineCounter, parseAllDocuments } from 'yaml';
import { Failure } from '../failure.ts';

const TEXT_BYTES_MAX = 512 * 1024;
const DEPTH_MAX = 32;
const ALIASES_MAX = 100;

export function manifestObject(input: string | object): unknown {
  if (typeof input !== 'string') return bounded(input);
  if (Buffer.byteLength(input) > TEXT_BYTES_MAX) {
    throw new Failure(
      'too-large',
      `the manifest is larger than ${TEXT_BYTES_MAX / 1024} KiB; keep files in the repository`,
    );
  }
  if (input.trim() === '') throw unreadable('is empty; give YAML or JSON');
  return bounded(parsed(input));
}

function parsed(input: string): unknown {
  const lineCounter = new LineCounter();
  try {
    // JSON is YAML too, but only JSON.parse takes it at any nesting and says so in JSON's words.
    if (/^\s*\{/.test(input)) return JSON.parse(input);
  } catch {
    // A YAML flow map is not JSON; YAML gives the better message for both.
  }
  try {
    const documents = parseAllDocuments(input, { lineCounter, uniqueKeys: true, merge: false, strict: true });
    const [document, second] = Array.isArray(documents) ? documents : [];
    if (document === undefined) throw unreadable('is empty; give YAML or JSON');
    if (second !== undefined) throw unreadable('has several documents (---); submit one at a time');
    const [error] = document.errors;
    if (error) throw unreadable(`is not YAML: ${firstLine(error.message)}`);
    return document.toJS({ maxAliasCount: ALIASES_MAX });
  } catch (thrown) {
    if (thrown instanceof Failure) throw thrown;
    // The parser throws its own errors on alias bombs, and RangeError on absurd nesting.
    throw unreadable(`is not YAML: ${thrown instanceof Error ? firstLine(thrown.message) : 'unreadable'}`);
  }
}

/** JSON semantics for objects handed over as such, and no deeper than anyone writes by hand. */
function bounded(value: unknown): unknown {
  const deep = (one: unknown, depth: number): boolean =>
    depth > DEPTH_MAX ||
    (typeof one === 'object' && one !== null && Object.values(one).some((v) => deep(v, depth + 1)));
  if (deep(value, 0)) throw unreadable(`is nested deeper than ${DEPTH_MAX} levels`);
  const json = JSON.stringify(value, finite);
  if (json !== undefined && json.length > TEXT_BYTES_MAX * 2) {
    throw new Failure('too-large', 'the manifest is too large; keep files in the repository');
  }
  return json === undefined ? undefined : JSON.parse(json);
}

/** JSON would make null of them, and that is a limit that nobody set. */
function finite(key: string, value: unknown): unknown {
  if (typeof value !== 'number' || Number.isFinite(value)) return value;
  throw unreadable(`holds ${value} at "${key.slice(0, 64)}", which is no number to count with`);
}

const firstLine = (message: string): string => message.split('\n')[0]?.replace(/:$/, '') ?? message;

const unreadable = (message: string): Failure =>
  new Failure('unprocessable', `the manifest ${message}`, { faults: [{ path: '', message }] });
