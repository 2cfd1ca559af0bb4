/**
 * What a task says, made readable: raw output lines, or a coding agent's JSON stream as words and tool calls.
 * Pure.
 *
 * The log's chunks end anywhere; `logReader` keeps the rest of a line until it is whole. A line of JSON that
 * has no known
 * `type` is shown as it came: reading it nicely must never hide anything.
 */
export type LogTone = 'out' | 'err' | 'state' | 'said' | 'tool' | 'result' | 'fault' | 'end';

export interface LogLine {
  readonly id: number;
  readonly tone: LogTone;
  /** What stands before the text, e.g. the tool's name. */
  readonly lead: string;
  readonly text: string;
}

export interface LogEvent {
  readonly event: string;
  readonly data: string;
}

type Said = Omit<LogLine, 'id'>;

/** Call it with each event; it gives the lines that became whole. */
export function logReader(): (event: LogEvent) => LogLine[] {
  const rests = new Map<string, string>();
  let nextId = 0;
  const numbered = (lines: readonly Said[]) => lines.map((line) => ({ ...line, id: nextId++ }));
  return ({ event, data }) => {
    if (event !== 'stdout' && event !== 'stderr') return numbered(spoken(event, data));
    const parts = ((rests.get(event) ?? '') + data).split('\n');
    rests.set(event, parts.pop() ?? '');
    // A chunk that is a whole JSON document needs no newline to be understood.
    const rest = rests.get(event) ?? '';
    if (rest.startsWith('{') && parseObject(rest)) {
      parts.push(rest);
      rests.set(event, '');
    }
    const tone = event === 'stderr' ? 'err' : 'out';
    return numbered(parts.flatMap((line) => outputLine(line.replace(/\r$/, ''), tone)));
  };
}

function spoken(event: string, data: string): Said[] {
  const object = parseObject(data);
  const field = (name: string) => (typeof object?.[name] === 'string' ? (object[name] as string) : '');
  switch (event) {
    case 'state':
      return [
        {
          tone: 'state',
          lead: field('state') || (object ? '' : data),
          text: field('message') || field('state_message'),
        },
      ];
    case 'question':
      return [{ tone: 'state', lead: 'asks', text: field('prompt') || field('question') || data }];
    case 'completed':
      return [
        { tone: 'end', lead: 'completed', text: object ? Object.entries(object).map(pair).join('  ') : data },
      ];
    case 'error':
      return [
        { tone: 'fault', lead: field('code') || 'error', text: field('message') || field('detail') || data },
      ];
    case 'gap':
      return [{ tone: 'fault', lead: 'gap', text: field('message') || 'Some output is missing here.' }];
    default:
      return [];
  }
}

function pair([key, value]: [string, unknown]): string {
  return `${key}=${typeof value === 'object' ? JSON.stringify(value) : String(value)}`;
}

function outputLine(line: string, tone: LogTone): Said[] {
  const object = line.startsWith('{') ? parseObject(line) : null;
  const told = object ? streamJson(object) : null;
  return told ?? [{ tone, lead: '', text: withoutEscapes(line) }];
}

/** Null: not a stream message that we know. An empty list: known, and nothing to show. */
function streamJson(object: Record<string, unknown>): Said[] | null {
  switch (object['type']) {
    case 'system':
      return object['subtype'] === 'init'
        ? [{ tone: 'state', lead: 'session', text: text(object['model']) }]
        : [];
    case 'assistant':
    case 'user':
      return contentOf(object).flatMap(block);
    case 'result':
      return [{ tone: object['is_error'] ? 'fault' : 'end', lead: 'result', text: text(object['result']) }];
    case 'stream_event':
      return [];
    default:
      return null;
  }
}

function contentOf(object: Record<string, unknown>): Record<string, unknown>[] {
  const message = object['message'];
  const content = isMap(message) ? message['content'] : null;
  if (typeof content === 'string') return [{ type: 'text', text: content }];
  return Array.isArray(content) ? content.filter(isMap) : [];
}

function block(part: Record<string, unknown>): Said[] {
  switch (part['type']) {
    case 'text':
      return [{ tone: 'said', lead: '', text: text(part['text']) }];
    case 'tool_use':
      return [{ tone: 'tool', lead: text(part['name']), text: toolInput(part['input']) }];
    case 'tool_result':
      return [{ tone: part['is_error'] ? 'fault' : 'result', lead: '', text: resultText(part['content']) }];
    default:
      return [];
  }
}

/** The one argument that says most; all of them when none stands out. */
function toolInput(input: unknown): string {
  if (!isMap(input)) return text(input);
  for (const name of ['command', 'file_path', 'path', 'pattern', 'query', 'url', 'description']) {
    if (typeof input[name] === 'string') return input[name] as string;
  }
  return Object.keys(input).length === 0 ? '' : JSON.stringify(input);
}

function resultText(content: unknown): string {
  if (!Array.isArray(content)) return text(content);
  return content.map((part) => (isMap(part) ? text(part['text']) : text(part))).join('\n');
}

function text(value: unknown): string {
  if (typeof value === 'string') return withoutEscapes(value);
  return value === undefined || value === null ? '' : JSON.stringify(value);
}

/** A log is not a terminal: colours and cursor movement are left out. */
export function withoutEscapes(line: string): string {
  return line
    .replace(/\x1b\][^\x07\x1b]*(\x07|\x1b\\)/g, '')
    .replace(/\x1b\[[0-9;?<=>!$"' ]*[A-Za-z@`~]/g, '')
    .replace(/\x1b./g, '')
    .replace(/[\x00-\x08\x0b-\x1f\x7f]/g, '');
}

function parseObject(data: string): Record<string, unknown> | null {
  try {
    const parsed: unknown = JSON.parse(data);
    return isMap(parsed) ? parsed : null;
  } catch {
    return null; // Plain text is the usual case.
  }
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
