/**
 * Codex and OpenCode, offline, against the scripted model. TRANSCRIPT_TOOLS names a directory where npm
 * installed them.
 */
import type { RecordingCase, Step } from './case.ts';
import { scriptedModel, type Turn } from './model.ts';

const port = 24102;
const tools = process.env.TRANSCRIPT_TOOLS ?? '/tmp/q-tools';
const codexConfig = (trust: string) => `mkdir -p ~/.codex && cat > ~/.codex/config.toml <<'END'
model = "scripted"
model_provider = "local"
approval_policy = "on-request"
sandbox_mode = "read-only"
check_for_update_on_startup = false
[model_providers.local]
name = "local"
base_url = "http://127.0.0.1:${port}/v1"
wire_api = "responses"
env_key = "MODEL_KEY"
${trust}
END
git init -q .`;
const trusted = '[projects."/home/dev/project"]\ntrust_level = "trusted"';
const openConfig = `mkdir -p ~/.config/opencode && cat > ~/.config/opencode/opencode.json <<'END'
{"autoupdate":false,"model":"local/scripted","small_model":"local/scripted","permission":{"bash":"ask","edit":"ask"},
"provider":{"local":{"npm":"@ai-sdk/openai-compatible","name":"local","options":{"baseURL":"http://127.0.0.1:${port}/v1","apiKey":"key"},"models":{"scripted":{"name":"scripted"}}}}}
END
git init -q .`;

const shell: Turn = {
  tool: 'exec_command',
  input: {
    cmd: 'touch hello.txt',
    sandbox_permissions: 'require_escalated',
    justification: 'May I create hello.txt?',
  },
};
const base = {
  env: { MODEL_KEY: 'key' },
  cols: 100,
  rows: 40,
  scrub: [[/(\d{1,2}):\d\d ([AP]M)/g, '10:00 $2']] as const,
};
const say = (words: string, ready: RegExp): Step[] => [
  { until: ready },
  { settle: 1200 },
  { keys: words },
  { settle: 500 },
  { keys: '\r' },
];
const codex = `${tools}/node_modules/.bin/codex --no-daemon`;
const opencode = `${tools}/node_modules/.bin/opencode`;

export const cases: readonly RecordingCase[] = [
  {
    ...base,
    name: 'codex-approval',
    setup: codexConfig(trusted),
    run: codex,
    before: async () => scriptedModel(port, [shell]),
    steps: [...say('make hello.txt', /›/), { until: /Would you like/ }],
    expected: {
      asking: true,
      kind: 'choice',
      question: 'Would you like to run the following command?',
      options: 3,
    },
  },
  {
    ...base,
    name: 'codex-trust',
    setup: codexConfig(''),
    run: codex,
    before: async () => scriptedModel(port, []),
    steps: [{ until: /trust|Do you/ }],
    expected: { asking: true, kind: 'choice', question: 'Trust this folder?', options: 2 },
  },
  {
    ...base,
    name: 'codex-idle',
    setup: codexConfig(trusted),
    run: codex,
    before: async () => scriptedModel(port, []),
    steps: [{ until: /›/ }, { settle: 1500 }],
    expected: { asking: false },
  },
  {
    ...base,
    name: 'codex-answer',
    setup: codexConfig(trusted),
    run: codex,
    before: async () =>
      scriptedModel(port, [
        { text: 'Two ways:\n\n1. Yes, rewrite it\n2. No, leave it\n\nWhich one do you want?' },
      ]),
    steps: [...say('what now', /›/), { until: /Which one/ }],
    expected: { asking: false },
  },
  {
    ...base,
    name: 'opencode-approval',
    setup: openConfig,
    run: opencode,
    before: async () =>
      scriptedModel(port, [
        { tool: 'bash', input: { command: 'touch hello.txt', description: 'Create a file' } },
      ]),
    steps: [...say('make hello.txt', /Ask anything|commands/), { until: /Allow once/ }],
    expected: { asking: true, kind: 'choice', question: 'Permission required', options: 3 },
  },
  {
    ...base,
    name: 'opencode-idle',
    setup: openConfig,
    run: opencode,
    before: async () => scriptedModel(port, []),
    steps: [{ until: /Ask anything|commands/ }, { settle: 1000 }],
    expected: { asking: false },
  },
  {
    ...base,
    name: 'opencode-answer',
    setup: openConfig,
    run: opencode,
    before: async () => scriptedModel(port, [{ text: 'Do you want to proceed? (y/n)' }]),
    steps: [...say('what now', /Ask anything|commands/), { until: /proceed/ }],
    expected: { asking: false },
  },
];
