/** The journal is gone, or another one is named: what runs is found, and nothing of it is ended. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { InstanceView, SessionView } from '../../src/views.ts';
import { type House, openHouse, until } from './house.ts';

let house: House;
beforeAll(async () => {
  house = await openHouse('orphans');
}, 60_000);
afterAll(() => house?.close(), 30_000);

const instances = async () => (await house.get<{ instances: InstanceView[] }>('instances')).instances;
const sessions = async () => (await house.get<{ sessions: SessionView[] }>('sessions')).sessions;

/** Kills the server and removes its journal. */
async function loseJournal(): Promise<void> {
  const seen = (): number => JSON.parse(readFileSync(join(house.dataDir, 'journal.seen'), 'utf8')).cursor;
  await until('it to be remembered that there is a journal', () => seen() > 0);
  await house.kill9();
  for (const name of readdirSync(house.dataDir))
    if (name.startsWith('journal.db')) rmSync(join(house.dataDir, name));
}

test('[I5, J27] without its journal a server adopts the instances that are there, and what runs in them', async () => {
  const line = 'for i in {1..40}; do echo "line $i"; sleep 0.1; done; sleep 600';
  const made = await house.post<SessionView>('agents/local/sessions', {
    command: 'bash',
    args: ['-c', line],
    session_name: 'counting',
  });
  const [before] = await instances();
  await loseJournal();
  await expect(house.start()).rejects.toThrow('AGENTIC_JOURNAL_ANEW=1');
  await house.start({ AGENTIC_JOURNAL_ANEW: '1' });
  const [after, ...more] = await instances();
  expect(more).toEqual([]);
  expect([after?.name, after?.instance_id]).toEqual([before?.name, before?.instance_id]);
  const session = await until('the session to be adopted', async () =>
    (await sessions()).find(({ session_id: id, state }) => id === made.session_id && state === 'live'),
  );
  expect(session.session_name).toBe('counting');
  await until('its last line', async () => {
    const { bytes } = await house.bytes(`sessions/${session.session_id}/output`);
    const lines = Buffer.from(bytes).toString().split('\r\n').slice(0, -1);
    expect(lines).toEqual(lines.map((_, i) => `line ${i + 1}`));
    return lines.length === 40;
  });
  const { entries } = await house.get<{ entries: { event: object }[] }>('actors/instance:local/log');
  expect(entries[0]?.event).toMatchObject({ type: 'born', input: { adopted: true } });
}, 60_000);

test('[I5] what is stopped is adopted as stopped, and starts with its files', async () => {
  await house.post('instances/local/stop');
  await until('it to be stopped', async () => (await instances())[0]?.state === 'stopped');
  await loseJournal();
  await house.start({ AGENTIC_JOURNAL_ANEW: '1' });
  expect((await instances()).map(({ name, state }) => [name, state])).toEqual([['local', 'stopped']]);
  await house.post('instances/local/start');
  await until('it to run', async () => (await instances())[0]?.state === 'running');
}, 60_000);
