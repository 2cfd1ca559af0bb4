/**
 * The agent client as two processes, under the real server: what lives when one of them is killed, and who
 * may speak for the instance. The agent gets no secret here, so that the kernel's word alone counts.
 */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildAgent } from '../../agent/build.ts';
import type { AgentView, SessionView } from '../../src/views.ts';
import { networkSidesOf } from '../agent/family.ts';
import { type House, openHouse, until } from './house.ts';

const DEATHS = 6;
const LINES = 60;

let dir: string;
let client: string;
let house: House;
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'holder-'));
  client = join(dir, 'client');
  await buildAgent(client);
  const secretless = join(dir, 'secretless');
  const script = `#!/bin/sh\nunset AGENT_SECRET_FILE\nexec "${client}" "$@"\n`;
  writeFileSync(secretless, script, { mode: 0o755 });
  house = await openHouse('holder', { AGENTIC_AGENT_BIN: secretless });
}, 60_000);
afterAll(async () => {
  await house?.close();
  rmSync(dir, { recursive: true, force: true });
}, 30_000);

const isReady = async (): Promise<boolean> => {
  const { agents } = await house.get<{ agents: AgentView[] }>('agents');
  return agents.some(({ id, state }) => id === 'local' && (state === 'ready' || state === 'busy'));
};

const environmentOf = (pid: number): string[] => readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0');

/** The first process of the instance. */
const holder = (): Promise<number> =>
  until('the holder', () =>
    readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map(Number)
      .find((pid) => {
        try {
          const isOurs = environmentOf(pid).includes(`HOME=${house.dataDir}/instances/local/home`);
          return isOurs && networkSidesOf(pid).length > 0;
        } catch {
          return false; // Gone, or not ours to read.
        }
      }),
  );

async function session(line: string): Promise<string> {
  const body = { command: 'bash', args: ['-c', line], session_type: 'headless' };
  const made = await house.post<{ session_id: string }>('agents/local/sessions', body);
  return made.session_id;
}

const said = async (id: string): Promise<string> =>
  Buffer.from((await house.bytes(`sessions/${id}/output?from=0&max=1048576`)).bytes).toString();

test('[A15] however often the network side is killed, a session is recorded whole', async () => {
  await until('the agent', isReady);
  const pid = await holder();
  const id = await session(`for i in $(seq ${LINES}); do echo $i; sleep 0.1; done; read end; echo $end`);
  for (let death = 1; death <= DEATHS; death++) {
    const [side] = await until('the network side', () => {
      const sides = networkSidesOf(pid);
      return sides.length > 0 && sides;
    });
    process.kill(side as number, 'SIGKILL');
    await until('the next line', async () => (await said(id)).includes(`\n${death * 3}\n`));
  }
  const numbers = Array.from({ length: LINES }, (_, i) => `${i + 1}\n`).join('');
  await until('the last line', async () => (await said(id)).length >= numbers.length);
  expect(await said(id)).toBe(numbers);
  await until('it to be live', async () => {
    const view = await house.get<SessionView>(`sessions/${id}`);
    return view.state === 'live';
  });
  expect(await holder()).toBe(pid);
}, 90_000);

test('[P4] the network side is the agent by the kernel word, and what a session starts is not', async () => {
  await until('the agent', isReady);
  const socket = environmentOf(await holder()).find((line) => line.startsWith('AGENT_GRPC_UDS_PATH='));
  for (const name of ['local', 'stranger']) {
    const imposter = `env AGENT_ID=${name} AGENT_SPOOL_DIR='${dir}/${name}' '${socket}' '${client}' 2>&1`;
    const id = await session(`timeout -s KILL 10 ${imposter}`);
    const words = await until('its refusal', async () => {
      const text = await said(id);
      return text.includes('no link to the server') && text;
    });
    expect(words).toMatch(/the server refused: process \d+ belongs to local, whose agent runs it/);
    expect(words).not.toContain('"registered"');
  }
  expect(await isReady()).toBe(true);
}, 60_000);
