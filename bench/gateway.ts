/**
 * What the model gateway costs: time to the first byte and megabytes a second of a streamed answer, beside a
 * direct connection to the same provider in the same run, turn by turn.
 *
 *     bin/bun bench/gateway.ts [--requests 400] [--megabytes 100] [--rounds 3]
 *
 * Provider, gateway and client are processes of their own. The gateway is the real one, with keys, counting
 * and slots; only the house behind it says yes at once. The last line is one JSON object with every figure.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { systemClock } from '../src/clock.ts';
import { forwarding } from '../src/gateway/forward.ts';
import { virtualKeys } from '../src/gateway/keys.ts';
import { prices } from '../src/gateway/prices.ts';
import { gatewayServer } from '../src/gateway/server.ts';
import { tallies } from '../src/gateway/tallies.ts';
import type { AgentId, SessionId } from '../src/ids.ts';
import { silentLog } from '../src/log.ts';

const { values } = parseArgs({
  options: {
    role: { type: 'string', default: 'client' },
    upstream: { type: 'string', default: '' },
    dir: { type: 'string', default: '' },
    requests: { type: 'string', default: '400' },
    megabytes: { type: 'string', default: '100' },
    rounds: { type: 'string', default: '3' },
  },
});

const line = (event: object) => `event: content_block_delta\ndata: ${JSON.stringify(event)}\n\n`;
/** Words as a model streams them: about 150 bytes an event. */
const words = line({
  type: 'content_block_delta',
  index: 0,
  delta: { type: 'text_delta', text: ' and then the tests are run again' },
});
const usage = { input_tokens: 10, output_tokens: 20 };
const begin = `event: message_start\ndata: ${JSON.stringify({ message: { model: 'claude-sonnet-4-5', usage } })}\n\n`;
const PIECE_BYTES = 16 << 10;
/** What /proc counts processor time in on Linux. */
const TICKS_PER_SECOND = 100;

/** Answers with as many bytes of events as the model's name says. */
function provider(): void {
  const piece = new TextEncoder().encode(words.repeat(Math.ceil(PIECE_BYTES / words.length)));
  const server = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    idleTimeout: 0,
    async fetch(request) {
      const { model } = (await request.json()) as { model: string };
      let left = Number(model);
      const body = new ReadableStream<Uint8Array>({
        start: (control) => control.enqueue(new TextEncoder().encode(begin)),
        pull(control) {
          if (left <= 0) return control.close();
          left -= piece.length;
          control.enqueue(piece.slice());
        },
      });
      return new Response(body, { headers: { 'content-type': 'text/event-stream' } });
    },
  });
  process.stdout.write(`http://127.0.0.1:${server.port} none\n`);
}

async function gateway(dir: string, upstream: string): Promise<void> {
  const keys = await virtualKeys(join(dir, 'keys'), silentLog);
  const key = await keys.mint({ session: 's' as SessionId, agent: 'a' as AgentId, task: null });
  const at = { baseUrl: upstream, key: async () => 'real', forgetKey() {} };
  const forward = forwarding({
    upstreams: { anthropic: at, openai: null },
    keys,
    prices: prices(null),
    treasury: { admit: async () => null, spent: async () => {} },
    tallies: tallies(),
    clock: systemClock,
    log: silentLog,
  });
  const listen = { host: '127.0.0.1', port: 0 };
  const portFile = join(dir, 'port');
  const door = { listen, portFile, socketPath: null, forward, clock: systemClock, log: silentLog };
  const { url } = await gatewayServer(door);
  process.stdout.write(`${url} ${key}\n`);
}

interface Place {
  readonly url: string;
  readonly key: string;
  readonly child: Bun.Subprocess<'ignore', 'pipe', 'inherit'>;
}

async function start(role: string, ...more: readonly string[]): Promise<Place> {
  const child = Bun.spawn([process.execPath, import.meta.path, '--role', role, ...more], {
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'inherit',
  });
  const { value } = await child.stdout.getReader().read();
  const [url = '', key = ''] = new TextDecoder().decode(value).trim().split(' ');
  return { url, key, child };
}

/** Milliseconds to the first byte, seconds to the last, and how many there were. */
async function ask({ url, key }: Place, bytes: number) {
  const at = performance.now();
  const response = await fetch(`${url}/v1/messages`, {
    method: 'POST',
    headers: { 'x-api-key': key, 'content-type': 'application/json' },
    body: JSON.stringify({ model: String(bytes), stream: true, max_tokens: 5, messages: [] }),
  });
  if (!response.ok || !response.body) throw new Error(`${response.status} ${await response.text()}`);
  let first = 0;
  let got = 0;
  for await (const piece of response.body) {
    first ||= performance.now() - at;
    got += piece.length;
  }
  return { firstMs: first, seconds: (performance.now() - at) / 1_000, bytes: got };
}

const quantile = (sorted: readonly number[], q: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? 0;
const rounded = (value: number): number => Math.round(value * 100) / 100;

async function firstBytes(places: readonly Place[], requests: number) {
  const all = places.map((): number[] => []);
  // The first ones warm both up.
  for (let i = -30; i < requests; i++) {
    for (const [n, place] of places.entries()) {
      const { firstMs } = await ask(place, 0);
      if (i >= 0) all[n]?.push(firstMs);
    }
  }
  return all.map((times) => {
    const sorted = times.sort((a, b) => a - b);
    return { p50: rounded(quantile(sorted, 0.5)), p99: rounded(quantile(sorted, 0.99)) };
  });
}

/** Processor time of a process so far, in seconds. */
function cpuOf({ child }: Place): number {
  const fields = readFileSync(`/proc/${child.pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

async function speeds(places: readonly Place[], bytes: number, rounds: number) {
  const all = places.map((): number[] => []);
  for (let i = 0; i < rounds; i++) {
    for (const [n, place] of places.entries()) {
      const got = await ask(place, bytes);
      if (got.bytes < bytes) throw new Error(`only ${got.bytes} bytes came`);
      all[n]?.push(got.bytes / 1e6 / got.seconds);
    }
  }
  return all.map((one) =>
    rounded(
      quantile(
        one.sort((a, b) => a - b),
        0.5,
      ),
    ),
  );
}

async function client(): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'bench-gateway-'));
  const direct = await start('provider');
  const through = await start('gateway', '--upstream', direct.url, '--dir', dir);
  try {
    const places = [direct, through];
    const [bare, ours] = await firstBytes(places, Number(values.requests));
    const before = cpuOf(through);
    const [bareSpeed, ourSpeed] = await speeds(places, Number(values.megabytes) * 1e6, Number(values.rounds));
    const gigabytes = (Number(values.megabytes) * Number(values.rounds)) / 1_000;
    const cpu = rounded((cpuOf(through) - before) / gigabytes);
    const added = rounded((ours?.p50 ?? 0) - (bare?.p50 ?? 0));
    process.stdout.write(
      `first byte   direct p50 ${bare?.p50} ms p99 ${bare?.p99}   gateway p50 ${ours?.p50} ms p99 ${ours?.p99}   added ${added} ms\n` +
        `streaming    direct ${bareSpeed} MB/s   gateway ${ourSpeed} MB/s, ${cpu} CPU s/GB\n` +
        `${JSON.stringify({ firstByteMs: { direct: bare, gateway: ours, added }, mbPerSecond: { direct: bareSpeed, gateway: ourSpeed }, cpuSecondsPerGb: cpu })}\n`,
    );
  } finally {
    for (const { child } of [through, direct]) child.kill('SIGKILL');
    rmSync(dir, { recursive: true, force: true });
  }
}

if (values.role === 'provider') provider();
else if (values.role === 'gateway') await gateway(values.dir, values.upstream);
else await client();
