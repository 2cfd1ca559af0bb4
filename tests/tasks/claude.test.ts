/**
 * The real Claude Code against a scripted model, launched exactly as `launch` says.
 * Goal: what we believe of its command line, hooks, transcript and dialogs is true of the installed version.
 */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { claude } from '../../agent/tools/claude.ts';
import { locateTool } from '../../agent/tools/locate.ts';
import type { AgentWish, ToolLaunch, ToolProgress } from '../../agent/tools/tool.ts';
import { writeToolFiles } from '../../src/tasks/files.ts';
import { type ModelServer, modelServer, type Turn } from './model.ts';

const located = locateTool('claude', {
  env: process.env,
  path: [join(import.meta.dir, '../../node_modules/.bin')],
});
if (!located.found) console.log(`skipped: the real Claude Code: ${located.reason}`);

const root = mkdtempSync('/tmp/tasks-claude-');
let script: (results: number) => Turn = () => ({ say: 'Nothing to do.' });
let model: ModelServer;
beforeAll(() => {
  model = modelServer((results) => script(results));
});
afterAll(() => {
  model.stop();
  rmSync(root, { recursive: true, force: true });
});

const writes = (results: number): Turn =>
  results === 0 ? { bash: 'echo made > made.txt' } : { say: 'made.txt is there.' };

const wish = (over: Partial<AgentWish>): AgentWish => ({
  tool: 'claude',
  mode: 'headless',
  prompt: 'Write made.txt',
  model: 'claude-sonnet-4-5',
  max_turns: null,
  allowed_tools: [],
  skip_permissions: true,
  mcp_config: null,
  finish: 'idle',
  command: null,
  args: [],
  env: {},
  ...over,
});

let runs = 0;
/** A fresh home, working directory and launch. */
async function prepared(over: Partial<AgentWish>, env: Record<string, string> = {}) {
  const dir = join(root, `run ${++runs}'s`);
  const place = { home: join(dir, 'home'), workDir: join(dir, 'work'), control: join(dir, 'control') };
  for (const one of Object.values(place)) mkdirSync(one, { recursive: true });
  const launch = claude.launch({
    ...place,
    wish: wish(over),
    program: located.found ? located.program : '',
    resume: null,
    conversation: Bun.randomUUIDv7(),
    env: {
      ANTHROPIC_BASE_URL: model.url,
      ANTHROPIC_API_KEY: 'a-key-that-is-longer-than-twenty-characters',
      ...env,
    },
  });
  await writeToolFiles(launch.files, [dir]);
  return {
    ...place,
    launch,
    env: { PATH: process.env['PATH'] ?? '', TERM: 'xterm-256color', ...launch.env },
  };
}

async function headless(over: Partial<AgentWish>, env: Record<string, string> = {}) {
  const { launch, workDir, env: whole } = await prepared(over, env);
  const process = Bun.spawn([launch.command, ...launch.args], {
    cwd: workDir,
    env: whole,
    stdin: launch.stdin === null ? 'ignore' : Buffer.from(launch.stdin),
    stdout: 'pipe',
    stderr: 'pipe',
  });
  const reader = claude.reader();
  for await (const bytes of process.stdout) reader.feed(bytes);
  const exitCode = await process.exited;
  return {
    workDir,
    exitCode,
    progress: reader.progress(),
    outcome: claude.outcome(exitCode, reader.progress()),
    launch,
  };
}

/** Plays a PTY session, answering what it asks, until `enough` or the process ends. */
async function interactive(
  over: Partial<AgentWish>,
  play: { enough: (p: ToolProgress) => boolean; answer?: string },
) {
  const { launch, workDir, env } = await prepared({ mode: 'interactive', ...over });
  let seen = '';
  const decoder = new TextDecoder();
  const process = Bun.spawn([launch.command, ...launch.args], {
    cwd: workDir,
    env,
    terminal: {
      cols: 100,
      rows: 30,
      data: (_, bytes) => {
        seen += decoder.decode(bytes, { stream: true });
      },
    },
  });
  const reader = claude.reader();
  const told = tail(launch);
  const deadline = Date.now() + 30_000;
  let answered = false;
  while (!play.enough(reader.progress()) && process.exitCode === null) {
    if (Date.now() > deadline)
      throw new Error(`not there after 30 s: ${JSON.stringify(reader.progress())}\n${seen.slice(-3000)}`);
    reader.feed(told.more());
    const { transcript } = reader.progress();
    if (transcript !== null) reader.feed(told.more(transcript), 'transcript');
    if (!answered && play.answer !== undefined && plain(seen).includes('Doyouwanttoproceed?')) {
      answered = true;
      process.terminal?.write(play.answer);
    }
    await Bun.sleep(20);
  }
  for (const key of launch.follow.farewell?.keys ?? []) {
    if (process.exitCode !== null) break;
    process.terminal?.write(key);
    await Promise.race([process.exited, Bun.sleep(launch.follow.farewell?.pauseMs ?? 0)]);
  }
  const late = setTimeout(() => process.kill('SIGKILL'), 5_000);
  const exitCode = await process.exited;
  clearTimeout(late);
  reader.feed(told.more());
  const { transcript } = reader.progress();
  if (transcript !== null) reader.feed(told.more(transcript), 'transcript');
  return {
    workDir,
    exitCode,
    progress: reader.progress(),
    outcome: claude.outcome(exitCode, reader.progress()),
    seen,
    launch,
  };
}

const plain = (screen: string): string => screen.replace(/\u001b\[[0-9;?<>=]*[A-Za-z]|\s/g, '');

/** What has been added to a file since it was last asked. */
function tail({ follow }: ToolLaunch) {
  const offsets = new Map<string, number>();
  return {
    more(path = follow.tells.by === 'file' ? follow.tells.path : ''): Uint8Array {
      if (!existsSync(path)) return new Uint8Array();
      const bytes = readFileSync(path);
      const from = offsets.get(path) ?? 0;
      offsets.set(path, bytes.length);
      return bytes.subarray(from);
    },
  };
}

describe.skipIf(!located.found)('the real Claude Code', () => {
  test('[K20] headless: it works, its tokens, tool calls and last words are known, and it is judged a success', async () => {
    script = writes;
    const { workDir, progress, outcome, exitCode } = await headless({});
    expect(exitCode).toBe(0);
    expect(readFileSync(join(workDir, 'made.txt'), 'utf8')).toBe('made\n');
    expect(outcome).toEqual({ ok: true, summary: 'made.txt is there.' });
    expect(progress).toMatchObject({
      toolCalls: 1,
      currentTool: null,
      inputTokens: 224,
      cacheReadTokens: 14,
      cacheWriteTokens: 10,
      outputTokens: 40,
      turns: 2,
      junkLines: 0,
    });
    expect(progress.costUsd).toBeGreaterThan(0);
  }, 30_000);

  test('[K21] an error that Claude reports is a failure', async () => {
    script = () => ({ status: 401 });
    const { outcome } = await headless({}, { CLAUDE_CODE_MAX_RETRIES: '0' });
    expect(outcome).toMatchObject({ ok: false });
    expect(outcome.ok ? '' : outcome.reason).toContain('claude failed');
  }, 30_000);

  test('[K21] running out of turns is a failure that says so', async () => {
    script = () => ({ bash: 'true' });
    const { outcome } = await headless({ max_turns: 2 });
    expect(outcome.ok ? '' : outcome.reason).toContain('error_max_turns');
  }, 30_000);

  test.each([
    ['like an option', '--version is what I want you to explain'],
    ['with quotes, newlines and shell signs', `It's "quoted" $(touch pwned) \`x\`\n; rm -rf made.txt`],
    ['longer than an argument may be', `Count these: ${'word '.repeat(40_000)}end`],
  ])(
    '[K22] a prompt %s reaches the model as it was written',
    async (_, prompt) => {
      script = () => ({ say: 'Understood.' });
      const from = model.heard.length;
      const { outcome, workDir } = await headless({ prompt, allowed_tools: ['Bash(git *)', 'Read'] });
      expect(outcome).toEqual({ ok: true, summary: 'Understood.' });
      expect(model.heard.slice(from).some((text) => text.trim() === prompt)).toBe(true);
      expect(existsSync(join(workDir, 'pwned'))).toBe(false);
    },
    30_000,
  );

  test('[K23] interactive: no set-up dialog, a permission is asked, rest is told by hook, and a polite end exits 0', async () => {
    script = writes;
    const run = await interactive({ skip_permissions: false }, { enough: (p) => p.resting, answer: '1' });
    expect(run.exitCode).toBe(0);
    expect(run.outcome).toEqual({ ok: true, summary: 'made.txt is there.' });
    expect(readFileSync(join(run.workDir, 'made.txt'), 'utf8')).toBe('made\n');
    expect(run.progress).toMatchObject({
      toolCalls: 1,
      outputTokens: 40,
      inputTokens: 224,
      turns: 2,
      currentTool: null,
    });
  }, 45_000);

  test('[K23] interactive without permissions to ask for, even as root', async () => {
    script = writes;
    const run = await interactive({ skip_permissions: true }, { enough: (p) => p.resting });
    expect(run.outcome).toEqual({ ok: true, summary: 'made.txt is there.' });
  }, 45_000);

  test('[K24] "No" to a permission is told as an interruption, not as the end', async () => {
    script = writes;
    const run = await interactive({ skip_permissions: false }, { enough: (p) => p.interrupted, answer: '3' });
    expect(run.progress).toMatchObject({ interrupted: true, resting: false, currentTool: null });
    expect(existsSync(join(run.workDir, 'made.txt'))).toBe(false);
  }, 45_000);

  test('[K21] interactive: a model that cannot be reached is a failure, not a silence', async () => {
    script = () => ({ status: 401 });
    const run = await interactive({ env: { CLAUDE_CODE_MAX_RETRIES: '0' } }, { enough: (p) => p.resting });
    expect(run.outcome).toMatchObject({ ok: false });
    expect(run.progress.errorKind).toBe('authentication_failed');
  }, 45_000);

  test('[K25] neither the key nor an MCP configuration is on the command line', async () => {
    const { launch } = await prepared({
      mcp_config: { mcpServers: { x: { command: 'true', env: { TOKEN: 's3cret' } } } },
    });
    expect(JSON.stringify(launch.args)).not.toContain('s3cret');
    expect(JSON.stringify(launch.args)).not.toContain('a-key-that');
    expect(JSON.stringify(launch.follow)).not.toContain('a-key-that');
  });
});
