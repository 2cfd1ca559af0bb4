/**
 * Structured log lines: one JSON object a line, or words for a person at a terminal.
 *
 * Fields whose name tells a secret are never written, see `redact`, and no operator token is, wherever it
 * stands.
 */
import { type Clock, rfc3339 } from './clock.ts';
import { withoutTokens } from './redact.ts';

export type Level = 'debug' | 'info' | 'warn' | 'error';
export type Fields = Readonly<Record<string, unknown>>;

export interface Log {
  debug(message: string, fields?: Fields): void;
  info(message: string, fields?: Fields): void;
  warn(message: string, fields?: Fields): void;
  error(message: string, fields?: Fields): void;
  /** The same log with fields on every line. */
  with(fields: Fields): Log;
}

const order: Readonly<Record<Level, number>> = { debug: 0, info: 1, warn: 2, error: 3 };
const secretName = /token|secret|password|passphrase|authorization|api_?key|cookie/i;

const redact = (name: string, value: unknown): unknown =>
  name !== '' && secretName.test(name) && typeof value === 'string' ? '[redacted]' : value;

export interface LogSink {
  readonly clock: Clock;
  readonly level: Level;
  /** JSON when absent. */
  readonly format?: LineFormat;
  write(line: string): void;
}

/** How one line is written: JSON for programs, words for a person at a terminal. */
export type LineFormat = (
  line: Fields & { readonly time: string; readonly level: Level; readonly message: string },
) => string;

const asJson: LineFormat = (line) => JSON.stringify(line, redact);

const shown = (name: string, value: unknown): string => {
  const safe = redact(name, value);
  return typeof safe === 'string' ? safe : JSON.stringify(safe, redact);
};

export const asWords: LineFormat = ({ time, level, message, ...fields }) => {
  const words = Object.entries(fields).map(([name, value]) => ` ${name}=${shown(name, value)}`);
  return `${time.slice(11, 19)} ${level.padEnd(5)} ${message}${words.join('')}`;
};

export function jsonLog(sink: LogSink, always: Fields = {}): Log {
  const at =
    (level: Level) =>
    (message: string, fields: Fields = {}) => {
      if (order[level] < order[sink.level]) return;
      const line = { time: rfc3339(sink.clock.now()), level, message, ...always, ...fields };
      sink.write(`${withoutTokens((sink.format ?? asJson)(line))}\n`);
    };
  return {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    with: (fields) => jsonLog(sink, { ...always, ...fields }),
  };
}

/** For tests that do not look at the log. */
export const silentLog: Log = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  with: () => silentLog,
};
