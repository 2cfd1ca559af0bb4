/** The manifest: what is taken, what is refused, and that every refusal says where and what to do. */
import { describe, expect, test } from 'bun:test';
import { Failure } from '../../src/failure.ts';
import { manifestSchema, readManifest } from '../../src/tasks/manifest.ts';
import { durationMs, sizeBytes } from '../../src/tasks/units.ts';

const least = { metadata: { name: 'A task' }, agent: { prompt: 'Do it' } };

function refusal(input: string | object): Failure {
  try {
    readManifest(input);
  } catch (thrown) {
    if (thrown instanceof Failure) return thrown;
    throw thrown;
  }
  throw new Error('it was taken');
}

const faultsOf = (input: string | object): Record<string, string> =>
  Object.fromEntries((refusal(input).faults ?? []).map(({ path, message }) => [path, message]));

const full = `
version: "1"
kind: Task
metadata:
  id: fix-login-17
  name: Fix the login
  labels: { issue: 17, team: web/login, urgent: true }
repository:
  url: git@example.org:team/project.git
  branch: release/1.2
  commit: "0123456789abcdef0123456789abcdef01234567"
  subpath: packages/api
  secret: DEPLOY_KEY
claude:
  prompt: |
    Fix it.
    All of it.
  headless: false
  model: sonnet
  max_turns: 30
  allowed_tools: ["Bash(git *)", Edit]
  output_format: stream-json
vm: { profile: basic, cpus: 2, memory: 4G, disk: 20G, network_mode: outbound, allowed_hosts: [example.org, "*.example.net:443"] }
secrets:
  - { name: DEPLOY_KEY, source: file, key: /etc/keys/deploy }
  - { name: API_TOKEN, source: env }
lifecycle:
  timeout: 90m
  failure_action: preserve
  artifact_patterns: ["dist/**", "!**/*.map"]
  retries: 2
  retry_backoff: 30s
  hang_timeout: none
`;

/** Something is wrong with every field. */
const allWrong = {
  version: '2',
  kind: 'Pod',
  prompt: 'x',
  lifecyle: {},
  metadata: { id: '../etc', name: ' ', labels: { 'a b': 'x' } },
  repository: {
    url: 'https://ada:pw@example.org/x.git',
    branch: '--upload-pack=touch x',
    commit: 'main',
    subpath: '../..',
    secret: 'NOPE',
  },
  agent: {
    tool: 'codex',
    max_turns: 0,
    allowed_tools: 'Bash',
    env: { A: 1, B: 'x' },
    instance: 'Bad_Name',
    promt: 'x',
  },
  vm: { cpus: 0, memory: '8 apples', network_mode: 'open' },
  secrets: [
    { name: 'B', source: 'vault', key: 'x' },
    { name: 'B', source: 'file', key: '../x' },
    { name: 'C', value: 'hunter2' },
  ],
  lifecycle: { timeout: '200h', artifact_patterns: ['../x', '/y'], retries: 11 },
  children: {},
};

describe('the manifest', () => {
  test('[K60] the least manifest has every default', () => {
    expect(readManifest(least)).toEqual({
      version: '1',
      kind: 'Task',
      metadata: { id: null, name: 'A task', labels: {} },
      repository: null,
      agent: {
        tool: 'claude',
        mode: 'headless',
        prompt: 'Do it',
        model: null,
        max_turns: null,
        allowed_tools: [],
        skip_permissions: true,
        mcp_config: null,
        finish: 'idle',
        command: null,
        args: [],
        env: {},
        instance: null,
        runtime: null,
      },
      vm: {
        profile: 'agentic-dev',
        loadout: null,
        cpus: 4,
        memory: '8G',
        disk: '40G',
        network_mode: null,
        allowed_hosts: [],
      },
      secrets: [],
      gateway: 'auto',
      budget: null,
      lifecycle: {
        timeout: '24h',
        failure_action: 'destroy',
        artifact_patterns: [],
        retries: 0,
        retry_backoff: '10s',
        hang_timeout: '10m',
        hang_action: 'notify',
      },
      parent_id: null,
    });
  });

  test('[K60] YAML, the same as JSON text and as an object read alike, and reading again changes nothing', () => {
    const read = readManifest(full);
    const again = { ...read, agent: read.agent };
    expect(readManifest(JSON.stringify(read))).toEqual(read);
    expect(readManifest(again)).toEqual(read);
    expect(JSON.parse(JSON.stringify(read))).toEqual(read);
    expect(read.metadata.labels).toEqual({ issue: '17', team: 'web/login', urgent: 'true' });
  });

  test('[K60] claude: is a shorthand for agent:', () => {
    const { agent } = readManifest(full);
    expect(agent).toMatchObject({
      tool: 'claude',
      mode: 'interactive',
      skip_permissions: false,
      model: 'sonnet',
      max_turns: 30,
    });
    expect(readManifest({ metadata: { name: 'x' }, claude: { prompt: 'p' } }).agent).toEqual(
      readManifest({ metadata: { name: 'x' }, agent: { prompt: 'p' } }).agent,
    );
  });

  test('an empty id is no id', () => {
    expect(readManifest({ ...least, metadata: { id: '', name: 'x' } }).metadata.id).toBeNull();
  });

  test('[K61] all faults come at once, each with its path and its cure', () => {
    const faults = faultsOf(allWrong);
    expect(Object.keys(faults).sort()).toEqual(
      [
        'agent.allowed_tools',
        'agent.env.A',
        'agent.env.B',
        'agent.instance',
        'agent.max_turns',
        'agent.promt',
        'agent.tool',
        'children',
        'kind',
        'lifecycle.artifact_patterns[0]',
        'lifecycle.artifact_patterns[1]',
        'lifecycle.retries',
        'lifecycle.timeout',
        'lifecyle',
        'metadata.id',
        'metadata.labels.a b',
        'metadata.name',
        'prompt',
        'repository.branch',
        'repository.commit',
        'repository.secret',
        'repository.subpath',
        'repository.url',
        'secrets[0].source',
        'secrets[1].key',
        'secrets[1].name',
        'secrets[2].key',
        'secrets[2].source',
        'secrets[2].value',
        'version',
        'vm.cpus',
        'vm.memory',
        'vm.network_mode',
      ].sort(),
    );
    expect(faults['lifecyle']).toContain('did you mean "lifecycle"?');
    expect(faults['agent.promt']).toContain('did you mean "prompt"?');
    expect(faults['prompt']).toContain('agent.prompt');
    expect(faults['agent.tool']).toContain('not in this version');
    expect(faults['secrets[0].source']).toContain('configures a command');
    expect(faults['lifecycle.timeout']).toContain('1s to 168h');
  });

  test('[K61] a fault under the shorthand is told under the shorthand', () => {
    expect(Object.keys(faultsOf({ metadata: { name: 'x' }, claude: { max_turns: '3' } })).sort()).toEqual([
      'claude.max_turns',
      'claude.prompt',
    ]);
  });

  test('[K62] no fault repeats a secret', () => {
    const failure = refusal({
      ...least,
      repository: { url: 'https://ada:hunter2@example.org/x' },
      secrets: [{ name: 'hunter2!', source: 'env' }],
    });
    expect(JSON.stringify([failure.message, failure.faults])).not.toContain('hunter2');
    expect(failure.faults?.map(({ path }) => path)).toContain('repository.url');
  });

  test.each([
    'https://example.org/x.git',
    'http://localhost:8080/x',
    'ssh://git@example.org:22/x.git',
    'git@example.org:team/x.git',
    'file:///srv/x.git',
    '/srv/x.git',
  ])('a repository at %s is taken', (url) => {
    expect(readManifest({ ...least, repository: { url } }).repository).toEqual({
      url,
      branch: null,
      commit: null,
      subpath: null,
      secret: null,
    });
  });

  test.each([
    'ext::sh -c touch% /tmp/x',
    '-oProxyCommand=x',
    'ssh://-oProxyCommand=x/y',
    'git@-host:x',
    'relative/path',
    'ftp://example.org/x',
    'https://',
    'https://token@example.org/x',
    'git@example.org:-x',
    'file://host/x',
    'https://example.org/a b',
    '',
  ])('[K63] a repository at %p is refused', (url) => {
    expect(Object.keys(faultsOf({ ...least, repository: { url } }))).toEqual(['repository.url']);
  });

  test.each(['-x', 'a..b', 'a b', 'a~1', 'x.lock', '/x', 'x/', 'refs/heads/x', '@{-1}', 'a\nb', 'a:b'])(
    '[K63] the branch %p is refused',
    (branch) => {
      expect(Object.keys(faultsOf({ ...least, repository: { url: '/x', branch } }))).toEqual([
        'repository.branch',
      ]);
    },
  );

  test('[K64] text that is no manifest is refused with the place of the trouble, whatever it does', () => {
    expect(refusal('a: [b').message).toContain('line 1');
    expect(refusal('a: 1\na: 2').message).toContain('unique');
    expect(refusal('').message).toContain('empty');
    expect(refusal('a: 1\n---\nb: 2').message).toContain('several documents');
    expect(refusal('just words').faults?.[0]?.message).toContain('must be a map');
    expect(refusal('['.repeat(100_000)).code).toBe('unprocessable');
    expect(refusal(`x: ${'{a: '.repeat(40)}1${'}'.repeat(40)}`).message).toContain('nested');
    expect(refusal('a: &a [*a]').code).toBe('unprocessable');
    const bomb = [
      'a: &a [x,x,x,x,x,x,x,x,x]',
      ...'bcdefgh'.split('').map((c, i) => `${c}: &${c} [${Array(9).fill(`*${'abcdefg'[i]}`).join(',')}]`),
    ];
    expect(refusal(bomb.join('\n')).code).toBe('unprocessable');
    expect(refusal(`# ${'x'.repeat(600_000)}`).code).toBe('too-large');
  });

  test('[V16] a budget without an end, or that is no number, is refused and never taken for none', () => {
    const head = 'metadata: {name: x}\nagent: {tool: command, command: "true"}\n';
    const texts = ['.inf', '-.inf', '.nan', '1e400'].map((n) => `${head}budget: {usd: ${n}}`);
    texts.push(
      '{"metadata":{"name":"x"},"agent":{"tool":"command","command":"true"},"budget":{"tokens":1e400}}',
    );
    for (const text of texts) expect(() => readManifest(text)).toThrow('no number to count with');
    expect(() => readManifest({ ...least, budget: { usd: Number.NaN } })).toThrow('NaN at "usd"');
  });

  test('[K64] hostile keys are only keys', () => {
    expect(
      Object.keys(
        faultsOf(
          '{"__proto__": {"x": 1}, "constructor": 1, "metadata": {"name": "x"}, "agent": {"prompt": "x"}}',
        ),
      ).sort(),
    ).toEqual(['__proto__', 'constructor']);
    const { env } = readManifest(
      '{"metadata":{"name":"x"},"agent":{"prompt":"x","env":{"__proto__":"y"}}}',
    ).agent;
    expect(Object.entries(env)).toEqual([['__proto__', 'y']]);
  });

  test('the tool command needs a command and takes no prompt for it', () => {
    expect(
      Object.keys(faultsOf({ metadata: { name: 'x' }, agent: { tool: 'command', model: 'sonnet' } })).sort(),
    ).toEqual(['agent.command', 'agent.model']);
    expect(
      readManifest({ metadata: { name: 'x' }, agent: { tool: 'command', command: 'make', args: ['-j', ''] } })
        .agent.args,
    ).toEqual(['-j', '']);
  });

  test('the schema tells of every field that is read', () => {
    const properties = manifestSchema['properties'] as Record<string, unknown>;
    expect(Object.keys(properties).sort()).toEqual([...Object.keys(readManifest(least)), 'claude'].sort());
    expect(JSON.parse(JSON.stringify(manifestSchema))).toEqual(manifestSchema);
  });
});

test('durations and sizes', () => {
  expect(['90s', '15m', '2h', '7d', '250ms'].map(durationMs)).toEqual([
    90_000, 900_000, 7_200_000, 604_800_000, 250,
  ]);
  expect(['', '5', '-1s', '1.5h', 's', '1 h'].map(durationMs)).toEqual([null, null, null, null, null, null]);
  expect(['512M', '8G', '8GiB', '1T', '8', 'G'].map(sizeBytes)).toEqual([
    512 * 2 ** 20,
    2 ** 33,
    2 ** 33,
    2 ** 40,
    null,
    null,
  ]);
});
