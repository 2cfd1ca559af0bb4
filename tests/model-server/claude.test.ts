/**
 * The real Claude Code against the scripted model: what the one says, the other takes for the Messages API.
 */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { readScenario } from './scenario.ts';
import { type ModelServer, startModelServer } from './server.ts';

const claude = resolve(import.meta.dir, '../../node_modules/.bin/claude');
const root = mkdtempSync(join(tmpdir(), 'e2e-claude-'));
const scenario = readScenario({
  key: 'sk-scripted',
  aside: 'A greeting',
  rules: [
    {
      user: 'write a greeting',
      turns: [
        {
          say: 'I look around first.',
          use: [{ tool: 'Bash', input: { command: 'echo looked > looked.txt', description: 'Look' } }],
        },
        {
          use: [
            { tool: 'Write', input: { file_path: join(root, 'work', 'greeting.txt'), content: 'hello\n' } },
          ],
        },
        { say: 'The greeting is written.' },
      ],
    },
  ],
});

let model: ModelServer;
beforeAll(() => {
  model = startModelServer(scenario);
});
afterAll(async () => {
  await model.stop();
  rmSync(root, { recursive: true, force: true });
});

test.skipIf(!existsSync(claude))(
  'Claude Code runs the scripted tools and says the scripted words',
  async () => {
    for (const dir of ['home', 'work']) mkdirSync(join(root, dir));
    const child = Bun.spawn(
      [
        claude,
        '-p',
        '--output-format',
        'json',
        '--dangerously-skip-permissions',
        '--',
        'Please write a greeting.',
      ],
      {
        cwd: join(root, 'work'),
        stdin: 'ignore',
        stdout: 'pipe',
        stderr: 'pipe',
        env: {
          PATH: process.env['PATH'] ?? '',
          HOME: join(root, 'home'),
          ANTHROPIC_BASE_URL: model.url,
          ANTHROPIC_API_KEY: 'sk-scripted',
          CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
          DISABLE_AUTOUPDATER: '1',
          IS_SANDBOX: '1',
        },
      },
    );
    const [out, err] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
    ]);
    expect({ exit: await child.exited, err }).toEqual({ exit: 0, err: '' });
    expect(JSON.parse(out)).toMatchObject({ is_error: false, result: 'The greeting is written.' });
    expect(readFileSync(join(root, 'work', 'looked.txt'), 'utf8')).toBe('looked\n');
    expect(readFileSync(join(root, 'work', 'greeting.txt'), 'utf8')).toBe('hello\n');
    expect(model.faults()).toEqual([]);
    const results = model.requests.findLast((one) => one.conversation !== null)?.conversation?.results;
    expect(results?.map((one) => one.tool)).toEqual(['Bash', 'Write']);
  },
  60_000,
);
