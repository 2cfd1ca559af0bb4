/**
 * Claude Code.
 *
 * Headless: `claude -p`, which prints stream-json and exits; its last record says how it went, and a record
 * that says "error" is a failure even when the exit code is 0.
 *
 * Interactive: a PTY. Claude does not exit when it has finished; it rests at its prompt. A settings file of
 * this attempt installs hooks that append one JSON line each to `<control>/claude.jsonl`: `Stop` (with
 * Claude's last words and its background jobs) means resting, `UserPromptSubmit` means at work again,
 * `StopFailure` means the model could not be reached, `SessionStart` tells where the transcript is, from
 * which tokens and tool calls are read. The hooks are ours alone: the repository and the user's own settings
 * stay as they are.
 *
 * The prompt stands after `--`, so nothing in it is an option. Neither keys nor MCP configurations are on the
 * command line.
 */
import { claudeReader } from './claude-reader.ts';
import type { Farewell, Tool, ToolFile, ToolLaunch, ToolOutcome, ToolProgress, ToolSpec } from './tool.ts';

/** Well below what Linux takes as one argument (128 KiB). */
const PROMPT_BYTES_MAX = 64 * 1024;
const hooksTold = ['SessionStart', 'UserPromptSubmit', 'Stop', 'StopFailure', 'SessionEnd'] as const;

/** Ctrl-C clears what stands in the input, asks once more, and ends; exit code 0. Tried with 2.1. */
const farewell: Farewell = {
  restMs: 1_000,
  keys: ['\u0003', '\u0003', '\u0003'],
  pauseMs: 400,
  graceMs: 5_000,
};

export const claude: Tool = {
  name: 'claude',
  launch: (spec) => (spec.wish.mode === 'headless' ? headless(spec) : interactive(spec)),
  reader: claudeReader,
  outcome,
};

function headless(spec: ToolSpec): ToolLaunch {
  const { wish } = spec;
  const prompt = wish.prompt ?? '';
  const long = Buffer.byteLength(prompt) > PROMPT_BYTES_MAX;
  return {
    command: spec.program,
    args: [
      '-p',
      '--output-format',
      'stream-json',
      '--verbose',
      ...shared(spec),
      ...(wish.max_turns === null ? [] : ['--max-turns', String(wish.max_turns)]),
      ...(long ? [] : ['--', prompt]),
    ],
    env: environment(spec),
    stdin: long ? prompt : null,
    pty: false,
    files: files(spec),
    follow: { tells: { by: 'stdout' }, transcripts: null, done: 'exit', farewell: null },
  };
}

function interactive(spec: ToolSpec): ToolLaunch {
  const prompt = spec.wish.prompt ?? '';
  const long = Buffer.byteLength(prompt) > PROMPT_BYTES_MAX;
  const promptFile = `${spec.control}/prompt.md`;
  const told = `${spec.control}/claude.jsonl`;
  const settings = `${spec.control}/claude-settings.json`;
  return {
    command: spec.program,
    args: [
      '--settings',
      settings,
      ...shared(spec),
      ...(long ? ['--add-dir', spec.control] : []),
      '--',
      long ? `Your orders are in the file ${promptFile}: read it and carry them out.` : prompt,
    ],
    env: environment(spec),
    stdin: null,
    pty: true,
    files: [
      ...files(spec),
      { path: settings, mode: 0o600, text: `${JSON.stringify(hookSettings(told), null, 2)}\n` },
      ...(long ? [{ path: promptFile, mode: 0o600, text: prompt }] : []),
    ],
    follow: {
      tells: { by: 'file', path: told },
      transcripts: `${spec.home}/.claude`,
      done: spec.wish.finish,
      farewell: spec.wish.finish === 'idle' ? farewell : null,
    },
  };
}

/** List options end at the next option, so each of them has one behind it or `--`. */
function shared(spec: ToolSpec): string[] {
  const { wish } = spec;
  const mcp =
    wish.mcp_config === null ? null : typeof wish.mcp_config === 'string' ? wish.mcp_config : mcpFile(spec);
  return [
    ...(wish.model === null ? [] : ['--model', wish.model]),
    ...(wish.allowed_tools.length === 0 ? [] : ['--allowedTools', ...wish.allowed_tools]),
    ...(mcp === null ? [] : ['--mcp-config', mcp]),
    // Newer releases judge by themselves unless told to ask.
    ...(wish.skip_permissions ? ['--dangerously-skip-permissions'] : ['--permission-mode', 'manual']),
    ...(spec.resume === null ? ['--session-id', spec.conversation] : ['--resume', spec.resume]),
  ];
}

const mcpFile = (spec: ToolSpec): string => `${spec.control}/mcp.json`;

function environment(spec: ToolSpec): Record<string, string> {
  return {
    ...spec.wish.env,
    ...spec.env,
    HOME: spec.home,
    DISABLE_AUTOUPDATER: '1',
    CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
    // Claude refuses to skip permissions as root unless told that it is inside a sandbox. The manifest asked
    // to skip them in plain words, and where it runs is the runtime's choice, which says so itself.
    ...(spec.wish.skip_permissions ? { IS_SANDBOX: '1' } : {}),
  };
}

/**
 * What a first start would ask a person: theme, trust in the directory, use of the key, leave to skip
 * permissions.
 */
function files(spec: ToolSpec): ToolFile[] {
  const key = spec.env['ANTHROPIC_API_KEY'] ?? spec.wish.env['ANTHROPIC_API_KEY'];
  const state = {
    hasCompletedOnboarding: true,
    ...(spec.wish.skip_permissions ? { bypassPermissionsModeAccepted: true } : {}),
    // Claude keeps the last 20 characters of a key that its user has agreed to.
    ...(key === undefined ? {} : { customApiKeyResponses: { approved: [key.slice(-20)], rejected: [] } }),
    projects: { [spec.workDir]: { hasTrustDialogAccepted: true, hasCompletedProjectOnboarding: true } },
  };
  const { mcp_config: mcp } = spec.wish;
  return [
    { path: `${spec.home}/.claude.json`, mode: 0o600, merge: state },
    ...(mcp === null || typeof mcp === 'string'
      ? []
      : [{ path: mcpFile(spec), mode: 0o600, text: JSON.stringify(mcp) }]),
  ];
}

/** A hook gets its event as one line on its standard input and has nothing to say. */
function hookSettings(told: string): object {
  const append = { type: 'command', command: `cat >> ${shellWord(told)}`, timeout: 10 };
  return {
    disableAllHooks: false,
    // Who asks and who judges is the manifest's to say, not an answer's.
    permissions: { disableAutoMode: 'disable' },
    hooks: Object.fromEntries(hooksTold.map((event) => [event, [{ hooks: [append] }]])),
  };
}

const shellWord = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

function outcome(exitCode: number | null, progress: ToolProgress): ToolOutcome {
  const { summary } = progress;
  const failed = (reason: string): ToolOutcome => ({ ok: false, reason, summary });
  if (progress.isError) {
    const words = summary ?? progress.lastText;
    return failed(
      `claude failed (${progress.errorKind ?? 'unknown'})${words === null ? '' : `: ${words.slice(0, 300)}`}`,
    );
  }
  if (progress.resting) return { ok: true, summary };
  if (exitCode === null) return failed('claude ended without an exit code');
  if (exitCode !== 0) return failed(`claude exited with code ${exitCode}`);
  return { ok: true, summary };
}
