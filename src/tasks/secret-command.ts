/**
 * Secrets that a program of the operator's gives: `<name>/<what>` runs the executable that was configured
 * under the name, with `what` as its only argument. It answers on its standard output, in plain text or as a
 * JSON object with a `value`, within a time and a size; what it says on its standard error is not kept.
 */
import { spawn } from 'node:child_process';
import { type Got, type SecretSources, sound } from './secret-sources.ts';

const COMMAND_MS = 10_000;
const OUTPUT_BYTES_MAX = 64 * 1024;
/** What every program needs; beyond it a command sees only variables that begin with its own name. */
const passedOn = ['PATH', 'HOME', 'USER', 'LANG', 'XDG_RUNTIME_DIR'];

type Told = { readonly output: Buffer } | { readonly why: string };

export async function fromCommand(
  key: string,
  { env, commands }: Pick<SecretSources, 'env' | 'commands'>,
  limitMs = COMMAND_MS,
): Promise<Got> {
  const at = key.indexOf('/');
  const [name, what] = at < 0 ? [key, ''] : [key.slice(0, at), key.slice(at + 1)];
  const program = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (program === undefined) {
    return { why: `there is no command "${name}"; the operator sets AGENTIC_SECRET_COMMAND_<NAME>` };
  }
  const mine = Object.keys(env).filter((one) => passedOn.includes(one) || one.startsWith(`${name}_`));
  const given = Object.fromEntries(mine.map((one) => [one, env[one]]));
  const told = await run(program, what, { env: given, limitMs });
  return 'why' in told ? { why: `command ${name} ${told.why}` } : valueIn(told.output, `command ${name}`);
}

interface Running {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly limitMs: number;
}

function run(program: string, what: string, { env, limitMs }: Running): Promise<Told> {
  return new Promise((resolve) => {
    const pieces: Buffer[] = [];
    let size = 0;
    let why: string | null = null;
    const child = spawn(program, what === '' ? [] : [what], {
      env,
      cwd: '/',
      detached: true,
      stdio: ['ignore', 'pipe', 'ignore'],
      timeout: limitMs,
      killSignal: 'SIGKILL',
    });
    /** With all it started: it leads a group of its own. */
    const give = (reason: string) => {
      why ??= reason;
      child.stdout.destroy();
      try {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      } catch {
        // It is gone already.
      }
    };
    child.stdout.on('data', (piece: Buffer) => {
      size += piece.length;
      if (size > OUTPUT_BYTES_MAX) return give(`said more than ${OUTPUT_BYTES_MAX / 1024} KiB`);
      pieces.push(piece);
    });
    child.on('error', (thrown: NodeJS.ErrnoException) =>
      resolve({ why: `cannot be run (${thrown.code ?? 'unknown'})` }),
    );
    child.on('exit', (code, signal) => {
      if (signal === 'SIGKILL') give(`did not answer within ${limitMs / 1_000} s`);
      else if (code !== 0) give(`exited with ${code ?? signal}`);
    });
    child.on('close', () => resolve(why === null ? { output: Buffer.concat(pieces) } : { why }));
  });
}

function valueIn(output: Buffer, from: string): Got {
  const text = output.toString('utf8').replace(/\r?\n$/, '');
  if (!/^\s*\{/.test(text)) return sound(text, `what ${from} said`);
  try {
    const { value } = JSON.parse(text) as { value?: unknown };
    return typeof value === 'string'
      ? sound(value, `what ${from} said`)
      : { why: `${from} gave JSON without a text "value"` };
  } catch {
    return { why: `${from} gave what begins like JSON and is none` };
  }
}
