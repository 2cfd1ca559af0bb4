/** The part of the environment that says where secrets and models come from. Read by config.ts. */
import { isAbsolute, join } from 'node:path';
import { Failure } from './failure.ts';
import type { Budget } from './spending.ts';

export interface CredentialsConfig {
  readonly secrets: {
    readonly names: readonly string[];
    readonly dirs: readonly string[];
    readonly commands: Readonly<Record<string, string>>;
  };
  /** Where files in memory may be, in the order of preference. */
  readonly memoryDirs: readonly string[];
  readonly models: ModelsConfig;
}

export interface Upstream {
  readonly baseUrl: string;
  /** The key itself, or `env:NAME`, `file:/path`, `command:NAME/what`. */
  readonly key: string;
}

export interface ModelsConfig {
  /** Null: that provider is not offered. */
  readonly anthropic: Upstream | null;
  readonly openai: Upstream | null;
  /** Port 0: any free one, and the same again after a restart where that is free. */
  readonly listen: { readonly host: string; readonly port: number };
  /** A file of prices that come before those built in; null: none. */
  readonly prices: string | null;
  /** For tasks whose manifest names none. */
  readonly budget: Budget;
  /** How long a request waits while a human is asked for more. */
  readonly budgetWaitMs: number;
}

type Env = Readonly<Record<string, string | undefined>>;

const bad = (name: string, why: string) => new Failure('bad-input', `${name}: ${why}`);
const list = (text: string): string[] =>
  text
    .split(',')
    .map((one) => one.trim())
    .filter(Boolean);

/** The keys of models, and what an operator named for this purpose. */
const namesDefault =
  'ANTHROPIC_API_KEY,ANTHROPIC_AUTH_TOKEN,CLAUDE_CODE_OAUTH_TOKEN,OPENAI_API_KEY,TASK_*,SECRET_*';

function commands(env: Env): Record<string, string> {
  const prefix = 'AGENTIC_SECRET_COMMAND_';
  const named = Object.keys(env).filter((name) => name.startsWith(prefix) && env[name]);
  return Object.fromEntries(
    named.map((name) => {
      const path = env[name] ?? '';
      if (!isAbsolute(path)) throw bad(name, `"${path}" is not an absolute path of an executable`);
      return [name.slice(prefix.length), path];
    }),
  );
}

function upstream(env: Env, provider: 'ANTHROPIC' | 'OPENAI', fallback: string): Upstream | null {
  const key = env[`AGENTIC_${provider}_API_KEY`];
  if (!key) return null;
  const name = `AGENTIC_${provider}_BASE_URL`;
  const text = env[name] || fallback;
  const url = URL.canParse(text) ? new URL(text) : null;
  const isPlain = url && /^https?:$/.test(url.protocol) && !url.username && !url.search && !url.hash;
  if (!url || !isPlain) throw bad(name, `"${text}" is not a plain http or https URL`);
  return { baseUrl: url.href.replace(/\/+$/, ''), key };
}

const loopback = /^(127(\.\d{1,3}){3}|localhost|::1)$/;

function gatewayListen(env: Env, { host, port }: { host: string; port: number }): ModelsConfig['listen'] {
  const name = 'AGENTIC_GATEWAY_LISTEN';
  const text = env[name];
  if (!text) return { host: loopback.test(host) ? host : '127.0.0.1', port: port === 0 ? 0 : port + 5 };
  const at = text.lastIndexOf(':');
  const [where, wanted] = [text.slice(0, at).replace(/^\[(.*)\]$/, '$1'), Number(text.slice(at + 1))];
  if (at <= 0 || !Number.isInteger(wanted) || wanted < 0 || wanted > 65_535) {
    throw bad(name, `"${text}" is not an address such as 127.0.0.1:8125`);
  }
  // Virtual keys would go over the network in the clear.
  if (!loopback.test(where))
    throw bad(name, `"${where}" is not on the loopback; instances elsewhere use the socket`);
  return { host: where, port: wanted };
}

function amount(env: Env, name: string, max: number): number | null {
  const text = env[name];
  if (!text || text === '0') return null;
  const value = Number(text);
  if (!(value > 0 && value <= max)) throw bad(name, `"${text}" is not a number from 0 to ${max}`);
  return value;
}

export interface Around {
  readonly listen: { readonly host: string; readonly port: number };
  readonly dataDir: string;
}

/** Throws Failure('bad-input') that names the variable. */
export function credentialsConfig(env: Env, { listen, dataDir }: Around): CredentialsConfig {
  const dirs = list(env['AGENTIC_SECRET_DIRS'] ?? `/run/secrets,${join(dataDir, 'task-secrets')}`);
  const relative = dirs.find((dir) => !isAbsolute(dir));
  if (relative !== undefined) throw bad('AGENTIC_SECRET_DIRS', `"${relative}" is not an absolute path`);
  return {
    secrets: { names: list(env['AGENTIC_SECRET_ENV'] ?? namesDefault), dirs, commands: commands(env) },
    memoryDirs: [env['XDG_RUNTIME_DIR'] ?? '', '/dev/shm'].filter(isAbsolute),
    models: {
      anthropic: upstream(env, 'ANTHROPIC', 'https://api.anthropic.com'),
      openai: upstream(env, 'OPENAI', 'https://api.openai.com/v1'),
      listen: gatewayListen(env, listen),
      prices: env['AGENTIC_MODEL_PRICES'] || null,
      budget: {
        tokens: amount(env, 'AGENTIC_BUDGET_TOKENS', 1e15),
        usd: amount(env, 'AGENTIC_BUDGET_USD', 1e9),
      },
      budgetWaitMs: (amount(env, 'AGENTIC_BUDGET_WAIT_SECONDS', 3_000) ?? 300) * 1_000,
    },
  };
}
