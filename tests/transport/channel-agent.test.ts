/** The output channel between the real agent client and the real doors. */
import { afterEach, beforeEach, expect, test } from 'bun:test';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { channelPath } from '../../proto/channel.ts';
import type { AgentLink, Registration, ReportedSession } from '../../src/agent-link.ts';
import type { SessionId } from '../../src/ids.ts';
import { House, type Rig, rig, SECRET, until } from './house.ts';

const S1 = 's-1' as SessionId;
const FLOOD_BYTES = 20_000_000;
/** As many bytes as wanted, each line numbered. */
const line = (i: number) => `${String(i).padStart(15, '0')}\n`;
const script = `seq -f %015.0f 0 ${FLOOD_BYTES / 16 - 1}`;

/** Records as a terminal does: what comes again is known by its offset. */
class Recorder extends House {
  next = 0;
  readonly hash = createHash('sha256');
  link: AgentLink | null = null;
  /** Breaks whatever output comes by, once, when so much is there. */
  breakAt = Infinity;

  override connected = async (link: AgentLink, value: Registration) => {
    this.told.push({ what: 'connected', link, value });
    this.link = link;
  };
  override reported = async (link: AgentLink, value: readonly ReportedSession[]) => {
    for (const { session } of value) link.ackOutput(session, this.next, true);
  };
  override output = (
    link: AgentLink,
    session: string,
    chunk: { bytes: Uint8Array; offset?: number | null },
  ) => {
    if (this.next >= this.breakAt) {
      this.breakAt = Infinity;
      throw new Error('the house is on fire');
    }
    const at = chunk.offset ?? this.next;
    if (at > this.next) throw new Error(`bytes ${this.next} to ${at} are missing`);
    const fresh = chunk.bytes.subarray(this.next - at);
    this.hash.update(fresh);
    this.next += fresh.length;
    link.ackOutput(session as SessionId, this.next, false);
  };
  override result = async (link: AgentLink, value: unknown) => {
    this.told.push({ what: 'result', link, value });
    link.ackResult(S1);
  };
}

let dir: string;
let house: Recorder;
let on: Rig;
let agent: Bun.Subprocess<'ignore', 'ignore', 'pipe'>;
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'channel-'));
  house = new Recorder();
  on = await rig({ listener: house });
});
afterEach(async () => {
  agent.kill('SIGKILL');
  await agent.exited;
  await on.close();
  rmSync(dir, { recursive: true, force: true });
});

function start(): { log(): Promise<string> } {
  writeFileSync(join(dir, 'secret'), SECRET, { mode: 0o600 });
  agent = Bun.spawn([process.execPath, 'agent/main.ts', '--env-file', '/dev/null'], {
    env: {
      PATH: process.env['PATH'] ?? '',
      HOME: dir,
      AGENT_ID: 'web-1',
      AGENT_SECRET_FILE: join(dir, 'secret'),
      AGENT_SPOOL_DIR: join(dir, 'spool'),
      AGENT_GRPC_UDS_PATH: on.unix.slice('unix:'.length),
    },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  return {
    async log() {
      agent.kill('SIGTERM');
      return await new Response(agent.stderr).text();
    },
  };
}

async function flood(): Promise<void> {
  const link = await until('the agent', () => house.link);
  const spec = {
    name: 'main',
    type: 'headless',
    command: 'sh',
    args: ['-c', script],
    workingDir: '',
  } as const;
  const launch = { session: S1, ...spec, env: {}, timeoutSeconds: 0, pty: null, runAs: '' };
  await link.launch(launch, new AbortController().signal);
  await until('the result', () => house.all('result').length > 0);
  await until('the last byte', () => house.next >= FLOOD_BYTES);
}

/** Of what the program wrote. */
function wanted(): string {
  const hash = createHash('sha256');
  for (let i = 0; i < FLOOD_BYTES / 16; i++) hash.update(line(i));
  return hash.digest('hex');
}

test('[G30] a flood comes by the channel as it is', async () => {
  const { log } = start();
  await flood();
  expect(house.hash.digest('hex')).toBe(wanted());
  expect(await log()).toContain('"output_channel":true');
}, 30_000);

test('[G30] so it does when the channel breaks in the middle', async () => {
  house.breakAt = FLOOD_BYTES / 3;
  const { log } = start();
  await flood();
  expect(house.hash.digest('hex')).toBe(wanted());
  expect(house.all('connected')).toHaveLength(2);
  expect(await log()).toContain('no link to the server');
}, 30_000);

test('[G30] and when there is none: it comes by the stream', async () => {
  rmSync(channelPath(on.unix.slice('unix:'.length)));
  const { log } = start();
  await flood();
  expect(house.hash.digest('hex')).toBe(wanted());
  expect(await log()).toContain('"output_channel":false');
}, 30_000);
