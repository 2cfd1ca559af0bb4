/**
 * A task's manifest: YAML or JSON in, plain JSON with every default filled in out.
 *
 * `readManifest(readManifest(x))` equals `readManifest(x)`. All faults come at once, each with its path and
 * its cure.
 * `claude:` is a shorthand for `agent:` and is gone after reading. Secrets are references here, never values;
 * a url that carries a password is refused. Nothing here looks at the world.
 */
import type { AgentWish } from '../../agent/tools/tool.ts';
import { Failure, type FieldFault } from '../failure.ts';
import type { RuntimeKind } from '../runtime.ts';
import type { Budget } from '../spending.ts';
import { agentFaults, agentShape, fromClaude } from './manifest-agent.ts';
import {
  budgetShape,
  gatewayShape,
  lifecycleShape,
  metadataShape,
  repositoryShape,
  secretsShape,
  vmShape,
} from './manifest-parts.ts';
import { manifestObject } from './manifest-text.ts';
import { carriesSecret } from './repository.ts';
import { bad, isMap, type JsonSchema, object, oneOf, optional, scalar, text } from './shape.ts';

export interface Manifest {
  version: '1';
  kind: 'Task';
  /** `id` null: whoever accepts the task gives it one. */
  metadata: { id: string | null; name: string; labels: Record<string, string> };
  repository: RepositoryWish | null;
  agent: AgentWish & {
    /** Run on this existing instance. */
    instance: string | null;
    /** Where a new instance is to live; null: the house decides. */
    runtime: RuntimeKind | null;
  };
  vm: VmWish;
  secrets: SecretRef[];
  /** Absent in manifests of earlier versions: `off`. */
  gateway?: 'auto' | 'on' | 'off';
  /** Null: the server's own. */
  budget?: Budget | null;
  lifecycle: Lifecycle;
  parent_id: string | null;
}

export interface RepositoryWish {
  url: string;
  /** A branch or tag; null: the remote's own default. */
  branch: string | null;
  /** 7 to 64 hexadecimal digits. */
  commit: string | null;
  /** Only this directory is checked out, and the tool works in it. */
  subpath: string | null;
  /**
   * One of `secrets`, for cloning only: a token for http(s), a private key for ssh. Not given to the tool.
   */
  secret: string | null;
}

export interface VmWish {
  profile: string;
  loadout: string | null;
  cpus: number;
  memory: string;
  disk: string;
  /** Null: the strictest that the runtime can enforce. */
  network_mode: 'isolated' | 'outbound' | 'full' | null;
  allowed_hosts: string[];
}

export interface SecretRef {
  /** The environment variable that the tool sees. */
  name: string;
  source: 'env' | 'file' | 'command';
  key: string;
  /** Absent in manifests of earlier versions: in its environment. */
  deliver?: 'env' | 'file';
}

export interface Lifecycle {
  /** 1s to 168h, from the moment the tool starts. */
  timeout: string;
  failure_action: 'destroy' | 'preserve';
  artifact_patterns: string[];
  /** Further attempts after a failure that may pass. */
  retries: number;
  retry_backoff: string;
  /** No output and no progress for so long is a hang; `none`: never. */
  hang_timeout: string;
  hang_action: 'notify' | 'fail';
}

const rootShape = object(
  'a task manifest',
  {
    version: optional(scalar({ what: 'the manifest version', max: 8, pattern: /^1$/, example: '1' }), '1'),
    kind: optional(oneOf('the kind', ['Task']), 'Task' as const),
    metadata: metadataShape,
    repository: optional(repositoryShape, null),
    agent: agentShape,
    vm: vmShape,
    secrets: secretsShape,
    gateway: gatewayShape,
    budget: budgetShape,
    lifecycle: lifecycleShape,
    parent_id: optional(text({ what: 'the id of the task this one belongs to', max: 64 }), null),
  },
  {
    name: 'metadata.name',
    id: 'metadata.id',
    labels: 'metadata.labels',
    prompt: 'agent.prompt',
    model: 'agent.model',
    tool: 'agent.tool',
    timeout: 'lifecycle.timeout',
    url: 'repository.url',
    branch: 'repository.branch',
    loadout: 'vm.loadout',
    runtime: 'agent.runtime',
    container: 'agent.runtime: container',
    env: 'agent.env',
  },
);

/** Throws Failure('unprocessable', …, { faults }), or 'too-large'. */
export function readManifest(input: string | object): Manifest {
  const faults: FieldFault[] = [];
  const given = manifestObject(input);
  const source = foreseen(given, faults);
  const read = rootShape.read(source, '', faults);
  const manifest = read === bad ? null : ({ ...read, version: '1' } satisfies Manifest);
  if (isMap(source)) {
    agentFaults(source['agent'], faults);
    crossFaults(source, faults);
  }
  if (manifest === null || faults.length > 0) {
    if (isMap(given) && isMap(given['claude'])) nameAsWritten(faults);
    const what = faults.length === 1 ? 'a fault' : `${faults.length} faults`;
    const first = faults[0];
    const lead = first === undefined ? '' : `: ${first.path === '' ? 'it' : first.path} ${first.message}`;
    throw new Failure('unprocessable', `the manifest has ${what}${lead}`, { faults });
  }
  return manifest;
}

/** Who wrote `claude:` finds nothing under `agent`. */
function nameAsWritten(faults: FieldFault[]): void {
  for (const [index, { path, message }] of faults.entries()) {
    if (path.startsWith('agent.')) faults[index] = { path: path.replace('agent.', 'claude.'), message };
  }
}

/** `claude:` becomes `agent:`, and what we know but do not do yet is said plainly. */
function foreseen(given: unknown, faults: FieldFault[]): unknown {
  if (!isMap(given)) return given;
  const { claude, children, ...rest } = given;
  if (children !== undefined && children !== null) {
    faults.push({
      path: 'children',
      message: 'is not in this version; submit each task by itself and set parent_id',
    });
  }
  if (claude === undefined || claude === null) return rest;
  if (rest['agent'] !== undefined && rest['agent'] !== null) {
    faults.push({
      path: 'claude',
      message: 'stands beside agent; keep one of them (claude is a shorthand for agent)',
    });
    return rest;
  }
  return { ...rest, agent: fromClaude(claude, faults) };
}

/** What parts owe each other; read off the unchecked value, so that it is said beside the other faults. */
function crossFaults(source: Record<string, unknown>, faults: FieldFault[]): void {
  const { secrets, agent, repository } = source;
  const env = isMap(agent) && isMap(agent['env']) ? agent['env'] : {};
  const names = new Set<unknown>();
  for (const [index, secret] of (Array.isArray(secrets) ? secrets : []).entries()) {
    const name = isMap(secret) ? secret['name'] : undefined;
    if (typeof name !== 'string') continue;
    if (names.has(name))
      faults.push({ path: `secrets[${index}].name`, message: 'is the name of another secret too' });
    if (Object.hasOwn(env, name))
      faults.push({ path: `agent.env.${name}`, message: 'is also a secret; keep one of them' });
    names.add(name);
  }
  if (!isMap(repository)) return;
  const { url, secret } = repository;
  if (typeof secret === 'string' && !names.has(secret)) {
    faults.push({ path: 'repository.secret', message: 'is not among secrets; add it there' });
  }
  if (typeof url === 'string' && carriesSecret(url, typeof secret === 'string')) {
    faults.push({
      path: 'repository.url',
      message:
        'carries a password or token, which would be kept with the task; list it under secrets ' +
        '({name, source, key}) and give its name as repository.secret',
    });
  }
}

const claudeSchema: JsonSchema = {
  type: ['object', 'null'],
  description: 'a shorthand for agent with tool claude; headless: false is mode interactive',
  properties: { prompt: { type: 'string' }, headless: { type: 'boolean', default: true } },
};

/** The same rules as JSON Schema, for documentation and the form of the dashboard. */
export const manifestSchema: JsonSchema = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  title: 'Task manifest',
  ...rootShape.schema,
  properties: { ...(rootShape.schema['properties'] as JsonSchema), claude: claudeSchema },
  required: ['metadata'],
  anyOf: [{ required: ['agent'] }, { required: ['claude'] }],
};
