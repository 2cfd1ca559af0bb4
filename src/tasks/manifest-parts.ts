/** The parts of a manifest beside `agent`: metadata, repository, vm, secrets, lifecycle. */
import type { FieldFault } from '../failure.ts';
import { taskIdPattern } from '../ids.ts';
import { envNamePattern } from './manifest-agent.ts';
import { branchFault, subpathFault, urlFault } from './repository.ts';
import {
  bad,
  fault,
  integer,
  type JsonSchema,
  list,
  mapOf,
  type Out,
  object,
  oneOf,
  optional,
  type Shape,
  scalar,
  text,
} from './shape.ts';
import { durationMs, sizeBytes } from './units.ts';

const HOUR = 3_600_000;
const TIMEOUT_MS_MAX = 168 * HOUR;

/** The part may be left out whole, and then has its defaults. */
function part<T>(shape: Shape<T>): Shape<T> {
  return { ...shape, optional: true, read: (value, path, faults) => shape.read(value ?? {}, path, faults) };
}

function duration(what: string, min: string, max: string): Shape<string> {
  const check = (value: string): string | null => {
    const ms = durationMs(value);
    if (ms === null) return 'is no duration; write it as 90s, 15m, 2h or 7d';
    const within = ms >= (durationMs(min) ?? 0) && ms <= (durationMs(max) ?? TIMEOUT_MS_MAX);
    return within ? null : `must be from ${min} to ${max}`;
  };
  return text({ what, max: 12, check, example: '2h' });
}

function size(what: string, min: string, max: string): Shape<string> {
  const check = (value: string): string | null => {
    const bytes = sizeBytes(value);
    if (bytes === null) return 'is no size; write it as 512M or 8G';
    return bytes >= (sizeBytes(min) ?? 0) && bytes <= (sizeBytes(max) ?? Infinity)
      ? null
      : `must be from ${min} to ${max}`;
  };
  return text({ what, max: 16, check, example: '8G' });
}

const idText = text({
  what: 'an id: letters, digits, - and _, at most 64',
  max: 64,
  pattern: taskIdPattern,
  example: 'fix-login-17',
});

/** The earlier system wants the key there and takes "" for "give me one". */
const idShape: Shape<string | null> = {
  optional: true,
  schema: {
    ...optional(idText, null).schema,
    minLength: 0,
    pattern: `^$|${taskIdPattern.source}`,
  } satisfies JsonSchema,
  read: (value, path, faults) =>
    value === undefined || value === null || value === '' ? null : idText.read(value, path, faults),
};

export const metadataShape = object('who the task is', {
  id: idShape,
  name: scalar({ what: 'a name for people', max: 200, example: 'Fix the login test' }),
  labels: optional(
    mapOf(/^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}$/, scalar({ what: "a label's value", max: 256, empty: true }), {
      what: 'labels to filter by',
      max: 64,
    }),
    {} as Record<string, string>,
  ),
});

export const repositoryShape = object(
  'the repository to work on',
  {
    url: text({
      what: 'a git URL or an absolute path',
      max: 2048,
      check: urlFault,
      example: 'https://host/team/project.git',
    }),
    branch: optional(text({ what: 'a branch or tag', max: 255, check: branchFault, example: 'main' }), null),
    commit: optional(
      scalar({
        what: 'a commit, 7 to 64 hexadecimal digits (quote it)',
        max: 64,
        pattern: /^[0-9a-fA-F]{7,64}$/,
      }),
      null,
    ),
    subpath: optional(
      text({ what: 'a directory in it', max: 1024, check: subpathFault, example: 'packages/api' }),
      null,
    ),
    secret: optional(
      text({ what: 'the name of a secret to clone with', max: 128, pattern: envNamePattern }),
      null,
    ),
  },
  { ref: 'branch or commit', tag: 'branch', path: 'subpath', sha: 'commit', token: 'secret' },
);

const hostText = text({
  what: 'a host name',
  max: 253,
  pattern: /^(\*\.)?[A-Za-z0-9][A-Za-z0-9.-]*(:\d{1,5})?$/,
});

export const vmShape = part(
  object(
    'where it runs',
    {
      profile: optional(
        text({ what: 'a profile', max: 64, pattern: /^[A-Za-z0-9][A-Za-z0-9._-]*$/ }),
        'agentic-dev',
      ),
      loadout: optional(
        text({
          what: 'a loadout',
          max: 256,
          pattern: /^(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._/-]*$/,
          example: 'claude-only',
        }),
        null,
      ),
      cpus: optional(integer({ what: 'processors', min: 1, max: 256 }), 4),
      memory: optional(size('memory', '128M', '4T'), '8G'),
      disk: optional(size('disk', '1G', '64T'), '40G'),
      network_mode: optional(oneOf('what it may reach', ['isolated', 'outbound', 'full']), null),
      allowed_hosts: optional(list(hostText, 500, 'hosts it may reach'), [] as string[]),
    },
    { startup_profile: 'profile', network: 'network_mode', mem: 'memory' },
  ),
);

const secretShape = object(
  'a secret, by reference',
  {
    name: text({
      what: 'the environment variable the tool sees',
      max: 128,
      pattern: envNamePattern,
      example: 'API_TOKEN',
    }),
    source: oneOf('where it comes from', ['env', 'file', 'command'], {
      vault: 'is not built in; the operator configures a command, and source: command names it',
    }),
    key: text({
      what: "the variable's name, the file's absolute path, or the command's name with what to ask it for",
      max: 4096,
    }),
    deliver: optional(
      oneOf('how the tool gets it: in its environment, or in a file that <NAME>_FILE names', ['env', 'file']),
      'env' as const,
    ),
  },
  { value: 'source and key: a manifest holds no values' },
);

type SecretRead = Out<typeof secretShape>;

const keyFaults: Readonly<Record<SecretRead['source'], (key: string) => string | null>> = {
  env: (key) => (envNamePattern.test(key) ? null : 'is no name of an environment variable'),
  file: (key) =>
    key.startsWith('/') && !key.split('/').includes('..') ? null : 'must be an absolute path without ..',
  command: (key) =>
    /^[A-Z][A-Z0-9_]{0,63}(\/[^-].*)?$/.test(key)
      ? null
      : 'must be the name of a command, and "/" and what to ask it for, as in "VAULT/team/token"',
};

/** `key` may be left out for env: it is the name. */
const keyed: Shape<SecretRead> = {
  ...secretShape,
  schema: { ...secretShape.schema, required: ['name', 'source'] },
  read(value, path, faults) {
    const map = typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : null;
    const filled =
      map !== null && map['source'] === 'env' ? { ...map, key: map['key'] ?? map['name'] } : value;
    const read = secretShape.read(filled, path, faults);
    if (read === bad) return bad;
    const wrong = keyFaults[read.source](read.key);
    return wrong === null ? read : fault(faults, `${path}.key`, wrong);
  },
};

export const secretsShape = optional(list(keyed, 100, 'secrets'), [] as SecretRead[]);

const number = (rule: { what: string; max: number }): Shape<number> => ({
  optional: false,
  schema: { type: 'number', exclusiveMinimum: 0, maximum: rule.max, description: rule.what },
  read: (value, path, faults) =>
    typeof value === 'number' && value > 0 && value <= rule.max
      ? value
      : fault(faults, path, `must be a number above 0 and up to ${rule.max}`),
});

export const budgetShape = optional(
  object(
    'what it may use of models through the gateway; then a human is asked',
    {
      tokens: optional(
        integer({ what: 'tokens read and written, cached ones too', min: 1, max: 1e15 }),
        null,
      ),
      usd: optional(number({ what: 'US dollars', max: 1e9 }), null),
    },
    { cost: 'usd', dollars: 'usd' },
  ),
  null,
);

const gatewayWords = oneOf(
  'whether it reaches models by the gateway, so that no real key is in its instance',
  ['auto', 'on', 'off'],
);

/** YAML of an earlier version, and JSON, may say it as true and false. */
export const gatewayShape = optional(
  {
    ...gatewayWords,
    read: (value: unknown, path: string, faults: FieldFault[]) =>
      gatewayWords.read(typeof value === 'boolean' ? (value ? 'on' : 'off') : value, path, faults),
  },
  'auto' as const,
);

const patternFault = (pattern: string): string | null => {
  if (pattern.startsWith('/')) return 'must be relative; the outbox and the working tree are searched';
  return pattern.split('/').includes('..') ? 'must not leave the task (..)' : null;
};

const silence = duration('silence that counts as a hang, or "none"', '10s', '168h');
const hangShape: Shape<string> = {
  ...silence,
  read: (value, path, faults) => (value === 'none' ? value : silence.read(value, path, faults)),
};

export const lifecycleShape = part(
  object(
    'how long, and what then',
    {
      timeout: optional(duration('how long the tool may run', '1s', '168h'), '24h'),
      failure_action: optional(
        oneOf('what becomes of the instance of a failed task', ['destroy', 'preserve']),
        'destroy' as const,
      ),
      artifact_patterns: optional(
        list(
          text({ what: 'a pattern', max: 512, check: patternFault, example: 'dist/**/*.tgz' }),
          100,
          'patterns of files to keep',
        ),
        [] as string[],
      ),
      retries: optional(
        integer({ what: 'further attempts after a failure that may pass', min: 0, max: 10 }),
        0,
      ),
      retry_backoff: optional(
        duration('the wait before the first further attempt; it doubles', '1s', '1h'),
        '10s',
      ),
      hang_timeout: optional(hangShape, '10m'),
      hang_action: optional(oneOf('what a hang leads to', ['notify', 'fail']), 'notify' as const),
    },
    { on_failure: 'failure_action', artifacts: 'artifact_patterns' },
  ),
);
