/** The real Claude Code, offline, against the scripted model. */
import { resolve } from 'node:path';
import type { RecordingCase, Step } from './case.ts';
import { scriptedModel, type Turn } from './model.ts';

const port = 24101;
const claude = resolve(import.meta.dir, '../../../node_modules/.bin/claude');
const env = {
  ANTHROPIC_BASE_URL: `http://127.0.0.1:${port}`,
  ANTHROPIC_API_KEY: 'sk-recording',
  DISABLE_AUTOUPDATER: '1',
  CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
  DISABLE_TELEMETRY: '1',
};
const config = (trusted: boolean) =>
  JSON.stringify({
    hasCompletedOnboarding: true,
    customApiKeyResponses: { approved: ['sk-recording'], rejected: [] },
    theme: 'dark',
    projects: {
      '/home/dev/project': { hasTrustDialogAccepted: trusted, hasCompletedProjectOnboarding: true },
    },
  });
const onboarded = `echo '${config(true)}' > ~/.claude.json; printf 'one\\ntwo\\n' > notes.txt; git init -q .`;
const ready: Step[] = [{ until: /shortcuts|❯/ }, { settle: 500 }];
const say = (words: string): Step[] => [...ready, { keys: words }, { settle: 300 }, { keys: '\r' }];

function claudeCase(
  name: string,
  turns: readonly Turn[],
  rest: Pick<RecordingCase, 'steps' | 'expected'> & Partial<RecordingCase>,
): RecordingCase {
  return {
    name: `claude-${name}`,
    setup: onboarded,
    env,
    cols: 100,
    rows: 40,
    run: `${claude} --permission-mode default`,
    before: async () => scriptedModel(port, turns),
    scrub: [
      [/(\d{1,2}):\d\d ([AP]M)/g, '10:00 $2'],
      [/Nov \d\d \d\d:\d\d/g, 'Jan  1 10:00'],
    ],
    ...rest,
  };
}

const bash = {
  tool: 'Bash',
  input: { command: 'touch hello.txt && ls -la', description: 'Create an empty file' },
};
const asks = { asking: true, kind: 'choice' } as const;

export const cases: readonly RecordingCase[] = [
  claudeCase('permission-bash', [bash], {
    steps: [...say('make hello.txt'), { until: /Do you want/ }],
    expected: { ...asks, question: 'Do you want to proceed?', options: 4 },
  }),
  claudeCase('permission-bash-narrow', [bash], {
    cols: 60,
    rows: 30,
    steps: [...say('make hello.txt'), { until: /Do you want/ }],
    expected: { ...asks, question: 'Do you want to proceed?', options: 4 },
  }),
  claudeCase(
    'permission-write',
    [
      {
        tool: 'Write',
        input: { file_path: '/home/dev/project/hello.txt', content: 'Are you sure? (y/n)\nhello\n' },
      },
    ],
    {
      steps: [...say('write hello.txt'), { until: /Do you want/ }],
      expected: { ...asks, question: 'Do you want to create hello.txt?', options: 3 },
    },
  ),
  claudeCase(
    'permission-edit',
    [
      { tool: 'Read', input: { file_path: '/home/dev/project/notes.txt' } },
      {
        tool: 'Edit',
        input: { file_path: '/home/dev/project/notes.txt', old_string: 'two', new_string: 'Continue? [Y/n]' },
      },
    ],
    {
      steps: [...say('edit notes.txt'), { until: /Do you want/ }],
      expected: { ...asks, question: 'Do you want to make this edit to notes.txt?', options: 3 },
    },
  ),
  claudeCase(
    'question-tool',
    [
      {
        tool: 'AskUserQuestion',
        input: {
          questions: [
            {
              question: 'Which library should we use for dates?',
              header: 'Library',
              multiSelect: false,
              options: [
                { label: 'date-fns', description: 'Small functions, tree-shakeable' },
                { label: 'dayjs', description: 'Moment-like API' },
                { label: 'Temporal', description: 'The coming standard' },
              ],
            },
          ],
        },
      },
    ],
    {
      steps: [...say('add dates'), { until: /Which library/ }],
      expected: { ...asks, question: 'Which library should we use for dates?' },
    },
  ),
  claudeCase(
    'question-tool-many',
    [
      {
        tool: 'AskUserQuestion',
        input: {
          questions: [
            {
              question: 'Which checks should run before each commit?',
              header: 'Checks',
              multiSelect: true,
              options: [
                { label: 'Format', description: 'Rewrites files' },
                { label: 'Types', description: 'Half a second' },
                { label: 'Tests', description: 'Ten seconds' },
              ],
            },
          ],
        },
      },
    ],
    {
      steps: [...say('add hooks'), { until: /Which checks/ }],
      expected: { ...asks, question: 'Which checks should run before each commit?' },
    },
  ),
  claudeCase(
    'plan-approval',
    [
      {
        tool: 'ExitPlanMode',
        input: { plan: '# Plan\n\n1. Write hello.txt\n2. Check it\n3. Tell the user' },
      },
    ],
    {
      run: `${claude} --permission-mode plan`,
      steps: [...say('plan it'), { until: /Exit plan mode/ }],
      expected: { ...asks, question: 'Exit plan mode?', options: 2 },
    },
  ),
  claudeCase('trust-dialog', [], {
    setup: `echo '${config(false)}' > ~/.claude.json`,
    steps: [{ until: /trust/ }],
    expected: { ...asks, question: 'trust', options: 2 },
  }),
  claudeCase('theme-picker', [], {
    steps: [...say('/theme'), { until: /Dark mode/ }],
    expected: { ...asks },
  }),
  claudeCase('model-picker', [], {
    steps: [...say('/model'), { until: /Select model/ }],
    expected: { ...asks, question: 'Select model' },
  }),
  claudeCase('api-key-dialog', [], {
    setup: `echo '${config(true).replace('"sk-recording"', '')}' > ~/.claude.json`,
    steps: [{ until: /API key/ }],
    expected: { ...asks, question: 'Do you want to use this API key?', options: 2 },
  }),
  claudeCase('idle', [], { steps: ready, expected: { asking: false } }),
  claudeCase('typed-not-sent', [], {
    steps: [...ready, { keys: 'Do you want to proceed? (y/n) ' }, { settle: 400 }],
    expected: { asking: false },
  }),
  claudeCase('working', [{ hang: 'Do you want me to proceed? Let me think about it first.' }], {
    steps: [...say('what now?'), { until: /…/ }, { pause: 2500 }],
    expected: { asking: false },
  }),
  claudeCase(
    'answer-numbered',
    [
      {
        text: 'Here are the options:\n\n1. Yes, rewrite everything\n2. No, keep it\n3. Ask again later\n\nDo you want to proceed?',
      },
    ],
    {
      steps: [...say('what are the options?'), { until: /proceed\?/ }, { settle: 800 }],
      expected: { asking: false },
    },
  ),
  claudeCase('message-numbered', [{ text: 'All three are done.' }], {
    steps: [
      ...ready,
      { keys: '1. Yes do it' },
      { keys: '\x1b\r' },
      { settle: 200 },
      { keys: '2. and that' },
      { settle: 300 },
      { keys: '\r' },
      { until: /All three/ },
    ],
    expected: { asking: false },
  }),
  claudeCase('answered', [bash, { text: 'I made hello.txt.' }], {
    steps: [
      ...say('make hello.txt'),
      { until: /Do you want/ },
      { settle: 400 },
      { keys: '1' },
      { until: /I made/ },
    ],
    expected: { asking: false },
  }),
  claudeCase('slash-menu', [], {
    steps: [...ready, { keys: '/mo' }, { settle: 500 }],
    expected: { asking: false },
  }),
];
