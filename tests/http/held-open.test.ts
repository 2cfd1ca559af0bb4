/** What a token holds open, and what it does not open. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { type House, house, tokens } from './world.ts';

const bearer = (token: string) => ({ headers: { authorization: `Bearer ${token}` } });

describe('tokens and what they open', () => {
  let on: House;
  let held: Awaited<ReturnType<typeof tokens>>;
  beforeAll(async () => {
    on = await house({ speed: 20 });
    held = await tokens(on.access);
  });
  afterAll(() => on.remove());

  /** Reads a stream until it ends. */
  const ended = async (response: Response): Promise<void> => {
    const reader = response.body?.getReader();
    while (reader && !(await reader.read()).done);
  };

  test('[W21] a stream of events ends when its token is revoked, and others go on', async () => {
    const { token, view } = await on.access.create({ name: 'leaver', role: 'viewer', expiresInMs: null });
    const mine = await on.get('/api/v1/events?follow=true', bearer(token));
    const other = await on.get('/api/v1/events?follow=true', bearer(held.viewer));
    expect([mine.status, other.status]).toEqual([200, 200]);
    const isOver = ended(mine);
    let otherIsOver = false;
    void ended(other).then(() => {
      otherIsOver = true;
    });
    await on.get(`/api/v1/tokens/${view.id}`, { method: 'DELETE', ...bearer(held.admin) });
    await isOver;
    expect(otherIsOver).toBe(false);
  });

  test('[W21] a stream of events ends some time after its token has expired', async () => {
    const { token } = await on.access.create({ name: 'brief', role: 'viewer', expiresInMs: 60_000 });
    const mine = await on.get('/api/v1/events?follow=true', bearer(token));
    expect(mine.status).toBe(200);
    on.clock.skip(61_000);
    await ended(mine);
  });

  test('[W6] a token in the address opens WebSockets and nothing else', async () => {
    const headers = {
      upgrade: 'websocket',
      connection: 'upgrade',
      'sec-websocket-protocol': `bearer.${held.admin}`,
    };
    const answer = await on.get(`/api/v1/agents?access_token=${held.admin}`, { headers });
    expect(answer.status).toBe(401);
  });
});

describe('a transcript', () => {
  let on: House;
  beforeAll(async () => {
    on = await house();
  });
  afterAll(() => on.remove());

  test('[W16] is whole, however small the pieces in which it is asked for', async () => {
    on.desks.sessions.add('long');
    const lines = Array.from({ length: 6_000 }, (_, i) => `line ${i} ${'x'.repeat(i % 90)}`);
    on.desks.sessions.say('long', `${lines.join('\r\n')}\r\n`);
    const found: string[] = [];
    for (let from: number | null = 0; from !== null; ) {
      const answer = await on.get(`/api/v1/sessions/long/transcript?limit=400&from=${from}`);
      const page = (await answer.json()) as { items: { text: string }[]; next_offset: number | null };
      found.push(...page.items.map(({ text }) => text));
      from = page.next_offset;
    }
    expect(found).toEqual(lines.map((line) => line.trimEnd()));
  });
});
