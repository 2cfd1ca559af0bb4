/**
 * What Claude Code tells of itself, from three sources that share most of their records:
 * the stream-json of `-p`, the lines that our hooks write, and the transcript file that an interactive
 * session keeps.
 *
 * Counts only what it understands; everything else is passed over, so a newer Claude does not break it.
 * All text is bounded, because it ends in views.
 */
import { type JsonRecord, jsonLines } from './lines.ts';
import { noProgress, type ToolProgress, type ToolReader } from './tool.ts';

const SUMMARY_CHARS_MAX = 16_384;
const LAST_TEXT_CHARS_MAX = 2_048;
const NAME_CHARS_MAX = 128;
/** Messages whose usage may still be told anew. Beyond it they count as final. */
const OPEN_MESSAGES_MAX = 256;

interface Usage {
  input: number;
  output: number;
  cacheRead: number;
  cacheWrite: number;
}

export function claudeReader(): ToolReader {
  const lines = { told: jsonLines(), transcript: jsonLines() };
  const memory: Memory = { usages: new Map(), closed: noUsage(), openTools: new Map(), seenTools: new Set() };
  let progress = noProgress;

  return {
    progress: () => progress,
    feed(bytes, source = 'told') {
      const before = progress;
      for (const record of lines[source].feed(bytes)) progress = read(progress, record, memory);
      const junkLines = lines.told.junk() + lines.transcript.junk();
      if (junkLines !== progress.junkLines) progress = { ...progress, junkLines };
      return progress !== before;
    },
  };
}

interface Memory {
  /** By message id: the newest usage told. */
  readonly usages: Map<string, Usage>;
  /** Sum of the messages that have left `usages`. */
  closed: Usage;
  /** Tools at work, by id, oldest first. */
  readonly openTools: Map<string, string>;
  readonly seenTools: Set<string>;
}

function read(progress: ToolProgress, record: JsonRecord, memory: Memory): ToolProgress {
  if (typeof record['hook_event_name'] === 'string') return hook(progress, record);
  switch (record['type']) {
    case 'system':
      return record['subtype'] === 'init' ? begun(progress, record) : progress;
    case 'assistant':
      return assistant(progress, record, memory);
    case 'user':
      return user(progress, record, memory);
    case 'result':
      return result(progress, record);
    case 'cost-state':
      return { ...progress, costUsd: amount(record['totalCostUSD']) ?? progress.costUsd };
    default:
      return progress;
  }
}

const begun = (progress: ToolProgress, record: JsonRecord): ToolProgress => ({
  ...progress,
  model: words(record['model'], NAME_CHARS_MAX) ?? progress.model,
  conversation: words(record['session_id'], NAME_CHARS_MAX) ?? progress.conversation,
});

function hook(progress: ToolProgress, record: JsonRecord): ToolProgress {
  const known = {
    ...begun(progress, record),
    transcript: words(record['transcript_path'], 4096) ?? progress.transcript,
  };
  const lastText = words(record['last_assistant_message'], SUMMARY_CHARS_MAX);
  switch (record['hook_event_name']) {
    case 'UserPromptSubmit':
      return {
        ...known,
        resting: false,
        interrupted: false,
        summary: null,
        isError: false,
        errorKind: null,
        background: 0,
      };
    case 'Stop': {
      const background = count(record['background_tasks']) + count(record['session_crons']);
      return {
        ...known,
        background,
        resting: background === 0,
        interrupted: false,
        currentTool: null,
        summary: lastText,
      };
    }
    case 'StopFailure':
      return {
        ...known,
        resting: true,
        interrupted: false,
        currentTool: null,
        summary: lastText,
        isError: true,
        errorKind: words(record['error'], NAME_CHARS_MAX) ?? 'unknown',
      };
    default:
      return known;
  }
}

function assistant(progress: ToolProgress, record: JsonRecord, memory: Memory): ToolProgress {
  const message = map(record['message']);
  const id = words(message['id'], NAME_CHARS_MAX);
  const mine = record['isSidechain'] !== true && !words(record['parent_tool_use_id'], NAME_CHARS_MAX);
  const fresh = id !== null && !memory.usages.has(id);
  if (id !== null) note(memory, id, usageOf(message['usage']));
  let { toolCalls, lastText } = progress;
  for (const block of listOf(message['content'])) {
    if (block['type'] === 'text' && mine) lastText = words(block['text'], LAST_TEXT_CHARS_MAX) ?? lastText;
    const tool = block['type'] === 'tool_use' ? words(block['id'], NAME_CHARS_MAX) : null;
    if (tool === null || memory.seenTools.has(tool)) continue;
    toolCalls++;
    memory.seenTools.add(tool);
    trim(memory.seenTools, OPEN_MESSAGES_MAX);
    memory.openTools.set(tool, words(block['name'], NAME_CHARS_MAX) ?? 'unknown');
    trim(memory.openTools, OPEN_MESSAGES_MAX);
  }
  const total = sum([memory.closed, ...memory.usages.values()]);
  return {
    ...progress,
    toolCalls,
    lastText,
    interrupted: mine ? false : progress.interrupted,
    currentTool: newest(memory.openTools),
    turns: progress.turns + (mine && fresh ? 1 : 0),
    model: (mine ? words(message['model'], NAME_CHARS_MAX) : null) ?? progress.model,
    ...counted(total),
  };
}

function user(progress: ToolProgress, record: JsonRecord, memory: Memory): ToolProgress {
  let interrupted = false;
  for (const block of listOf(map(record['message'])['content'])) {
    if (block['type'] === 'tool_result')
      memory.openTools.delete(words(block['tool_use_id'], NAME_CHARS_MAX) ?? '');
    // No hook tells of it; the transcript does, in these words.
    if (block['type'] === 'text' && words(block['text'], 64)?.startsWith('[Request interrupted by user'))
      interrupted = true;
  }
  if (interrupted) memory.openTools.clear();
  return {
    ...progress,
    interrupted: interrupted || progress.interrupted,
    currentTool: newest(memory.openTools),
  };
}

/** The last record of `-p`; its sums are the true ones. */
function result(progress: ToolProgress, record: JsonRecord): ToolProgress {
  const subtype = words(record['subtype'], NAME_CHARS_MAX) ?? 'unknown';
  const isError = record['is_error'] === true || subtype !== 'success';
  const usage = record['usage'] === undefined ? null : usageOf(record['usage']);
  return {
    ...begun(progress, record),
    currentTool: null,
    isError,
    errorKind: isError ? (subtype === 'success' ? 'api_error' : subtype) : null,
    summary: words(record['result'], SUMMARY_CHARS_MAX),
    costUsd: amount(record['total_cost_usd']) ?? progress.costUsd,
    turns: amount(record['num_turns']) ?? progress.turns,
    ...(usage === null ? {} : counted(usage)),
  };
}

/** A message comes in several records, each with its usage so far: the newest counts, once. */
function note(memory: Memory, id: string, usage: Usage): void {
  memory.usages.set(id, usage);
  if (memory.usages.size <= OPEN_MESSAGES_MAX) return;
  const [oldest] = memory.usages;
  if (oldest === undefined) return;
  memory.closed = sum([memory.closed, oldest[1]]);
  memory.usages.delete(oldest[0]);
}

const noUsage = (): Usage => ({ input: 0, output: 0, cacheRead: 0, cacheWrite: 0 });

function usageOf(value: unknown): Usage {
  const usage = map(value);
  return {
    input: amount(usage['input_tokens']) ?? 0,
    output: amount(usage['output_tokens']) ?? 0,
    cacheRead: amount(usage['cache_read_input_tokens']) ?? 0,
    cacheWrite: amount(usage['cache_creation_input_tokens']) ?? 0,
  };
}

const sum = (usages: readonly Usage[]): Usage =>
  usages.reduce(
    (a, b) => ({
      input: a.input + b.input,
      output: a.output + b.output,
      cacheRead: a.cacheRead + b.cacheRead,
      cacheWrite: a.cacheWrite + b.cacheWrite,
    }),
    noUsage(),
  );

const counted = (usage: Usage) => ({
  inputTokens: usage.input + usage.cacheRead + usage.cacheWrite,
  outputTokens: usage.output,
  cacheReadTokens: usage.cacheRead,
  cacheWriteTokens: usage.cacheWrite,
});

const map = (value: unknown): JsonRecord =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonRecord) : {};

const listOf = (value: unknown): JsonRecord[] => (Array.isArray(value) ? value.map(map) : []);
const count = (value: unknown): number => (Array.isArray(value) ? value.length : 0);

const amount = (value: unknown): number | null =>
  typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : null;

function words(value: unknown, max: number): string | null {
  if (typeof value !== 'string' || value === '') return null;
  return value.length > max ? `${value.slice(0, max - 1).toWellFormed()}…` : value;
}

const newest = (tools: Map<string, string>): string | null => [...tools.values()].at(-1) ?? null;

function trim(kept: Set<string> | Map<string, string>, max: number): void {
  const [oldest] = kept.keys();
  if (kept.size > max && oldest !== undefined) kept.delete(oldest);
}
