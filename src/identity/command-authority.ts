/**
 * An authority elsewhere, reached by a program of the operator's: one word as its argument, one JSON object
 * on its input, one on its output (docs/ca-backend.md). Bounded in time, size and number; no shell.
 *
 * What it signs is checked by whoever asked (checks.ts). Its words on standard error go to the log only.
 */
import { spawn } from 'node:child_process';
import type { CertificateAuthority } from '../certificates.ts';
import type { Clock } from '../clock.ts';
import { Failure } from '../failure.ts';
import { newId } from '../ids.ts';
import type { Log } from '../log.ts';

export interface CommandOptions {
  readonly program: string;
  readonly trustDomain: string;
  readonly clock: Clock;
  readonly log: Log;
  /** All that the program gets of an environment. */
  readonly env: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
}

const TIMEOUT_MS = 10_000;
const REQUEST_BYTES_MAX = 1 << 20;
const ANSWER_BYTES_MAX = 4 << 20;
const COMPLAINT_BYTES_MAX = 64 << 10;
/** Programs that run at once; more are refused, and those who asked come back. */
const RUNNING_MAX = 8;
const protocol = { major: 1, minor: 0 };

type Verb = 'describe' | 'health' | 'trust-bundle' | 'sign';
type Answer = Readonly<Record<string, unknown>>;

const away = (why: string, cause?: unknown) =>
  new Failure('authority-away', `the program that signs certificates ${why}`, { cause });

/** Nothing is asked of the program before it is needed: it may be away when we start. */
export function commandAuthority(options: CommandOptions): CertificateAuthority {
  const { trustDomain } = options;
  const say = asking(options);
  let isKnown = false;
  const ask = async (verb: Verb, input: object | null): Promise<Answer> => {
    if (!isKnown) {
      const { protocol: theirs } = await say('describe', null);
      const { major } = (theirs ?? {}) as { readonly major?: unknown };
      if (major !== protocol.major) throw away(`speaks protocol ${String(major)} and not ${protocol.major}`);
      isKnown = true;
    }
    return await say(verb, input);
  };
  const request = async (verb: Verb, fields: Answer, expected: Answer): Promise<Answer> => {
    const id = newId();
    const answer = await ask(verb, {
      protocol,
      request_id: id,
      expected_trust_domain: trustDomain,
      ...fields,
    });
    for (const [name, value] of Object.entries({ ...expected, request_id: id }))
      if (answer[name] !== value) throw away(`answered "${verb}" with another ${name} than it was asked for`);
    return answer;
  };
  return {
    kind: 'command',
    async issue({ csr, spiffeId, purpose, names, ttlMs }) {
      const wanted = {
        spiffe_id: spiffeId,
        csr_pem: csr,
        purpose,
        names,
        requested_ttl_seconds: Math.ceil(ttlMs / 1_000),
      };
      return textOf(await request('sign', wanted, { spiffe_id: spiffeId }), 'certificate_chain_pem');
    },
    async trustBundle() {
      return textOf(await request('trust-bundle', {}, { trust_domain: trustDomain }), 'bundle_pem');
    },
    async health() {
      try {
        const { state, diagnostics_code: code } = await ask('health', null);
        if (state === 'ready') return { available: true, reasons: [] };
        const said = typeof code === 'string' ? ` (${code.slice(0, 100)})` : '';
        return { available: false, reasons: [`the program says that it is ${String(state)}${said}`] };
      } catch (thrown) {
        if (!(thrown instanceof Failure)) throw thrown;
        return { available: false, reasons: [thrown.message] };
      }
    },
  };
}

function textOf(answer: Answer, name: string): string {
  const value = answer[name];
  if (typeof value === 'string' && value !== '') return value;
  throw away(`answered without ${name}`);
}

function asking({ program, env, clock, log, timeoutMs = TIMEOUT_MS }: CommandOptions) {
  let running = 0;
  return async (verb: Verb, input: object | null): Promise<Answer> => {
    const text = input === null ? '' : `${JSON.stringify(input)}\n`;
    if (text.length > REQUEST_BYTES_MAX) throw away('would be asked too much at once');
    if (running >= RUNNING_MAX) throw new Failure('authority-away', 'too many certificates are being signed');
    running++;
    try {
      const output = await run({ program, verb, env, clock, timeoutMs }, text).catch((thrown) => {
        const { message, cause } = thrown as Error;
        log.warn('certificate authority away', { program, verb, why: message, said: String(cause ?? '') });
        throw thrown;
      });
      return objectIn(output);
    } finally {
      running--;
    }
  };
}

function objectIn(output: string): Answer {
  let value: unknown;
  try {
    value = JSON.parse(output);
  } catch (thrown) {
    throw away('did not answer with JSON', thrown);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw away('answered no object');
  return value as Answer;
}

interface Run extends Pick<CommandOptions, 'program' | 'env' | 'clock'> {
  readonly verb: Verb;
  readonly timeoutMs: number;
}

function run({ program, verb, env, clock, timeoutMs }: Run, input: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, [verb], { env, stdio: ['pipe', 'pipe', 'pipe'], detached: true });
    const end = (failure: Failure) => {
      clock.clearTimeout(timer);
      try {
        // With what it started itself.
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      } catch {
        // It ended just now.
      }
      reject(failure);
    };
    const timer = clock.setTimeout(() => end(away(`took longer than ${timeoutMs} ms`)), timeoutMs);
    const output: Buffer[] = [];
    let complaint = '';
    let bytes = 0;
    child.stdout.on('data', (part: Buffer) => {
      bytes += part.length;
      if (bytes > ANSWER_BYTES_MAX) return end(away(`answered more than ${ANSWER_BYTES_MAX} bytes`));
      output.push(part);
    });
    child.stderr.on('data', (part: Buffer) => {
      if (complaint.length < COMPLAINT_BYTES_MAX) complaint += part.toString();
    });
    child.on('error', (thrown) => end(away(`cannot be started: ${thrown.message}`, thrown)));
    child.on('close', (code, signal) => {
      clock.clearTimeout(timer);
      if (code === 0) return resolve(Buffer.concat(output).toString('utf8'));
      const said = complaint.trim().split('\n')[0]?.slice(0, 200) ?? '';
      reject(away(`ended with ${signal ?? code}`, new Error(said)));
    });
    // A program that reads nothing and ends is judged by how it ended.
    child.stdin.on('error', () => {});
    child.stdin.end(input);
  });
}
