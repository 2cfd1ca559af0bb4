/**
 * `bun run token:create | token:list | token:revoke`: operator tokens by command, with or without a running
 * server, which notices within a second. Whoever may write the data directory may do this.
 */

import { type Role, roles } from '../src/access.ts';
import { systemClock } from '../src/clock.ts';
import { readConfig } from '../src/config.ts';
import { Failure } from '../src/failure.ts';
import { operators } from '../src/http/operators.ts';
import { tokenPathIn } from '../src/http/token-file.ts';

const usage = `Usage: bun run token:create --name NAME --role viewer|operator|admin [--expires 30d]
       bun run token:list
       bun run token:revoke ID

Works on the data directory, AGENTIC_DATA_DIR (.run). The first token is an admin's that does not expire. A token is
printed once, on standard output, and kept nowhere. --expires takes s, m, h or d.
`;

class Usage extends Error {}

const unitMs: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

function durationOf(text: string): number {
  const [, count = '', unit = ''] = /^(\d{1,9})([smhd])$/.exec(text) ?? [];
  const ms = Number(count) * (unitMs[unit] ?? 0);
  if (ms > 0) return ms;
  throw new Usage(`--expires "${text}" is not a time such as 12h or 30d`);
}

function optionsOf(words: readonly string[], known: readonly string[]): Map<string, string> {
  const found = new Map<string, string>();
  for (let at = 0; at < words.length; at += 2) {
    const [name = '', value] = words.slice(at, at + 2);
    if (!known.includes(name)) throw new Usage(`unknown argument "${name}"`);
    if (value === undefined) throw new Usage(`${name} takes a value`);
    found.set(name, value);
  }
  return found;
}

const open = () => {
  const { dataDir } = readConfig(process.env, process.cwd(), import.meta.dir);
  return operators({ path: tokenPathIn(dataDir), clock: systemClock, uid: -1, remembers: false });
};

async function create(words: readonly string[]): Promise<void> {
  const given = optionsOf(words, ['--name', '--role', '--expires']);
  const [name, role, expires] = ['--name', '--role', '--expires'].map((one) => given.get(one));
  if (!name || !/^[A-Za-z0-9][A-Za-z0-9 ._@-]{0,99}$/.test(name))
    throw new Usage('--name takes 1 to 100 letters, digits, blanks, ".", "_", "@" or "-"');
  if (!roles.includes(role as Role)) throw new Usage(`--role is one of ${roles.join(', ')}`);
  const expiresInMs = expires === undefined ? null : durationOf(expires);
  const { view, token } = await (await open()).create({ name, role: role as Role, expiresInMs });
  const until = view.expires_at === null ? 'does not expire' : `expires at ${view.expires_at}`;
  process.stderr.write(`Made for ${view.name}, ${view.role}; it ${until}. Its id is ${view.id}.\n`);
  process.stdout.write(`${token}\n`);
}

async function list(words: readonly string[]): Promise<void> {
  optionsOf(words, []);
  for (const { id, name, role, created_at, expires_at } of (await open()).list())
    process.stdout.write(
      `${[id, role.padEnd(8), created_at, (expires_at ?? 'never').padEnd(24), name].join('  ')}\n`,
    );
}

async function revoke([id, ...rest]: readonly string[]): Promise<void> {
  if (id === undefined || rest.length > 0) throw new Usage('token:revoke takes one id; see token:list');
  await (await open()).revoke(id);
  process.stderr.write(`${id} is revoked.\n`);
}

const verbs: Readonly<Record<string, (words: readonly string[]) => Promise<void>>> = { create, list, revoke };

async function main([verb = '', ...words]: readonly string[]): Promise<void> {
  if ([verb, ...words].some((word) => word === '--help' || word === '-h'))
    return void process.stdout.write(usage);
  const run = verbs[verb];
  if (!run) throw new Usage(`unknown command "${verb}"`);
  await run(words);
}

main(process.argv.slice(2)).catch((thrown: unknown) => {
  if (thrown instanceof Usage) process.stderr.write(`${thrown.message}\n\n${usage}`);
  else
    process.stderr.write(
      `${thrown instanceof Failure ? thrown.message : String((thrown as Error)?.stack)}\n`,
    );
  process.exit(thrown instanceof Usage ? 64 : 1);
});
