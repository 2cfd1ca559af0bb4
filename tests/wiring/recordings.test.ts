/** Which recordings are kept, and what the house knows of those of sessions it has forgotten. */
import { afterEach, expect, test } from 'bun:test';
import type { SessionId } from '../../src/ids.ts';
import { keepRecordings } from '../../src/wiring/recording-keeper.ts';
import { recordingDesk, recordingWorld } from '../../src/wiring/recordings.ts';
import { sessionDesk } from '../../src/wiring/sessions.ts';
import { until } from '../terminal/ground.ts';
import { type HandLink, type Rig, reported, rig } from './rig.ts';

let on: Rig;
afterEach(() => on.remove());

const DAY_MS = 86_400_000;

async function says(link: HandLink, session: string, text: string): Promise<void> {
  await on.listener.reported(link, [reported(session)]);
  await on.settle();
  const chunk = { stream: 'stdout', bytes: Buffer.from(text), offset: 0 } as const;
  on.listener.output(link, session as SessionId, chunk);
}

const ends = async (link: HandLink, session: string) => {
  await on.listener.result(link, {
    session: session as SessionId,
    exitCode: 0,
    error: '',
    outputBytes: null,
  } as never);
  await on.settle();
};

test('[W43] recordings of sessions that ended too long ago are removed, at the start and every hour, and no others', async () => {
  on = await rig();
  const link = await on.connect('box');
  // Newer by its id than any time of this clock would make it: it is judged by its end.
  await says(link, 'old', 'of old');
  await ends(link, 'old');
  await says(link, 'live', 'it goes on');
  const { recordings } = on.house;
  // Foreign ids do not tell when a session began; the first record does, and that is now by the real clock.
  on.clock.increment(Date.now());
  await on.pass(2 * DAY_MS);
  await says(link, 'new', 'of now');
  await ends(link, 'new');
  const world = recordingWorld(on.house, on.journal);
  const stop = keepRecordings(world, { clock: on.clock, keepDays: 1 });
  await until('the removal', () => recordings.removed('old' as SessionId));
  await on.settle();
  expect(recordings.removed('old' as SessionId)).toMatchObject({ by: 'house' });
  expect(recordings.removed('old' as SessionId)?.reason).toContain('kept for 1 days');
  const has = (session: string) => recordings.has(session as SessionId);
  expect(['old', 'live', 'new'].map(has)).toEqual([false, true, true]);
  expect(sessionDesk(on.house).find('old')?.recording_removed).toMatchObject({ by: 'house' });
  expect(sessionDesk(on.house).find('new')?.recording_removed).toBeNull();
  await until('the next removal', () => {
    on.clock.increment(3_600_000);
    return recordings.removed('new' as SessionId);
  });
  expect(has('live')).toBe(true);
  stop();
});

test('[W38] what a session was called is known from the journal when memory has forgotten it', async () => {
  on = await rig();
  const link = await on.connect('box');
  await says(link, 's1', 'hello\r\n');
  await ends(link, 's1');
  const world = recordingWorld(
    { ...on.house, fleet: { ...on.house.fleet, view: () => null, isLive: () => false } },
    on.journal,
  );
  const desk = recordingDesk(world);
  const { recordings } = await desk.list({ agent: 'box', task: null, before: null, limit: 10 });
  expect(recordings).toMatchObject([
    { session_id: 's1', session_name: 'work', command: 'bash', live: false },
  ]);
  const { found } = await desk.search({
    q: 'hello',
    agent: 'box',
    task: null,
    before: null,
    limit: 10,
    since: null,
    until: null,
  });
  expect(found).toMatchObject([{ session_id: 's1', agent_id: 'box', text: 'hello' }]);
});
