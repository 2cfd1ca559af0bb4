/** What goes through the gateway, what does not, and in whose words it is said. */
import { afterEach, describe, expect, test } from 'bun:test';
import { statSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { SLOTS_MAX } from '../../src/gateway/forward.ts';
import { virtualKeys } from '../../src/gateway/keys.ts';
import { silentLog } from '../../src/log.ts';
import { events, type Provider, realKey, spender, sse, until, type World, world } from './world.ts';

let here: World | null = null;
afterEach(async () => {
  await here?.close();
  here = null;
});
const open = async (provider: Provider): Promise<World> => {
  here = await world(provider);
  return here;
};

const wish = { model: 'claude-sonnet-4-5', max_tokens: 5 };
const nothing: Provider = () => Response.json({ id: 'm' });

describe('[V3] a request reaches the upstream that is configured, and nothing else', () => {
  test.each([
    ['/v1/messages?beta=true', '/a/v1/messages?beta=true'],
    ['/v1/messages/count_tokens', '/a/v1/messages/count_tokens'],
    ['/v1/chat/completions', '/o/v1/chat/completions'],
    ['/v1/responses', '/o/v1/responses'],
  ])('%s', async (path, upstreamPath) => {
    const seen: string[] = [];
    const { post } = await open((request) => {
      const url = new URL(request.url);
      seen.push(url.pathname + url.search);
      return Response.json({});
    });
    expect((await post(path, wish)).status).toBe(200);
    expect(seen).toEqual([upstreamPath]);
  });

  test.each([
    'GET /v1/messages',
    'POST /v1/files',
    'POST /v1/messages/../files',
    'POST /v1/messages%2f..%2ffiles',
    'POST //127.0.0.1:1/v1/messages',
    'POST /v1/messages/batches',
    'GET http://127.0.0.1:1/v1/messages',
    'DELETE /v1/models',
  ])('not %s', async (line) => {
    let reached = 0;
    const { gateway, key } = await open(() => {
      reached += 1;
      return Response.json({});
    });
    const head = `${line} HTTP/1.1\r\nhost: 127.0.0.1:1\r\nx-api-key: ${key}\r\n`;
    const answer = await raw(gateway.port, `${head}content-length: 2\r\nconnection: close\r\n\r\n{}`);
    expect(answer).toMatch(/^HTTP\/1\.1 40[04]/);
    expect(reached).toBe(0);
  });

  test('with the real key in place of the virtual one, and no other header of the caller', async () => {
    const seen: Record<string, string>[] = [];
    const { post, key } = await open((request) => {
      seen.push(Object.fromEntries(request.headers));
      const headers = { 'set-cookie': 'a=b', 'anthropic-organization-id': 'org', 'request-id': 'req_1' };
      return Response.json({}, { headers });
    });
    const mine = { cookie: 'c=d', 'x-forwarded-for': '10.0.0.1', 'anthropic-version': '2023-06-01' };
    const response = await post('/v1/messages', wish, mine);
    await post('/v1/responses', wish, { authorization: `Bearer ${key}`, 'x-api-key': '' });
    expect(seen[0]).toMatchObject({ 'x-api-key': realKey, 'anthropic-version': '2023-06-01' });
    expect(seen[1]).toMatchObject({ authorization: `Bearer ${realKey}` });
    for (const headers of seen) {
      expect(Object.keys(headers)).not.toContain('cookie');
      expect(Object.keys(headers)).not.toContain('x-forwarded-for');
      expect(JSON.stringify(headers)).not.toContain(key);
    }
    expect(response.headers.get('request-id')).toBe('req_1');
    expect(response.headers.get('set-cookie')).toBeNull();
    expect(response.headers.get('anthropic-organization-id')).toBeNull();
  });

  test('a redirect is not followed, and where it leads is not told', async () => {
    let reached = 0;
    const { post } = await open((request) => {
      if (!request.url.endsWith('/elsewhere')) return Response.redirect('/elsewhere', 307);
      reached += 1;
      return Response.json({});
    });
    const response = await post('/v1/messages', wish);
    expect(response.status).toBe(502);
    expect(await response.text()).not.toContain('elsewhere/');
    expect(reached).toBe(0);
  });
});

function raw(port: number, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = '';
    const socket = connect(port, '127.0.0.1', () => socket.write(text));
    socket.on('data', (bytes) => {
      answer += bytes;
    });
    socket.on('close', () => resolve(answer));
    socket.on('error', reject);
  });
}

describe('[V3] what goes wrong is told in the words of the API', () => {
  const anthropic = (type: string) => ({ type: 'error', error: { type } });
  const openai = (code: string) => ({ error: { code, type: code, param: null } });

  test('a key that is none', async () => {
    const { post } = await open(nothing);
    const one = await post('/v1/messages', wish, { 'x-api-key': 'agk_nobody' });
    expect([one.status, await one.json()]).toMatchObject([401, anthropic('authentication_error')]);
    const headers = { 'x-api-key': '', authorization: 'Bearer nobody' };
    const other = await post('/v1/responses', wish, headers);
    expect([other.status, await other.json()]).toMatchObject([401, openai('invalid_api_key')]);
  });

  test('a body that is none, or too large', async () => {
    const { post } = await open(nothing);
    const none = await post('/v1/messages', 'nothing');
    expect([none.status, await none.json()]).toMatchObject([400, anthropic('invalid_request_error')]);
    const unnamed = await post('/v1/chat/completions', {});
    expect([unnamed.status, await unnamed.json()]).toMatchObject([400, openai('invalid_request_error')]);
    const large = await post('/v1/messages', 'x'.repeat((32 << 20) + 1));
    expect([large.status, await large.json()]).toMatchObject([413, anthropic('request_too_large')]);
  });

  test('a real key that the provider does not take is the operator’s trouble, read again next time', async () => {
    const { post, log } = await open(() => Response.json({ error: `bad key ${realKey}` }, { status: 401 }));
    const response = await post('/v1/messages', wish);
    const text = await response.text();
    expect(response.status).toBe(401);
    expect(text).toContain('operator');
    expect(text).not.toContain(realKey);
    expect(log.join('')).not.toContain(realKey);
    expect(here?.forgotten).toBe(1);
  });

  test('a provider that is not there, and one that is ill', async () => {
    const ill = { type: 'error', error: { type: 'overloaded_error', message: 'later' } };
    const { post } = await open(() => Response.json(ill, { status: 529, headers: { 'retry-after': '7' } }));
    const response = await post('/v1/messages', wish);
    expect([response.status, await response.json()]).toEqual([529, ill]);
    expect(response.headers.get('retry-after')).toBe('7');
  });

  test('[V8] a refusal for want of budget is one that tools do not try again', async () => {
    const { post } = await open(nothing);
    (here as World).refuse = 'task t1 has used 5 tokens of its budget of 5 tokens';
    const one = await post('/v1/messages', wish);
    expect([one.status, await one.json()]).toMatchObject([402, anthropic('billing_error')]);
    expect(one.headers.get('x-should-retry')).toBe('false');
    const other = await post('/v1/responses', wish);
    const { error } = (await other.json()) as { error: { message: string } };
    expect([other.status, error]).toMatchObject([402, { code: 'insufficient_quota' }]);
    expect(error.message).toContain('task t1');
  });
});

describe('[V4] an answer', () => {
  test('goes on byte for byte', async () => {
    const bytes = Uint8Array.from({ length: 3_000_000 }, (_, i) => (i * 7 + (i >> 8)) % 256);
    const { post } = await open(() => new Response(bytes));
    const got = await (await post('/v1/messages', wish)).bytes();
    expect(Buffer.from(got).equals(Buffer.from(bytes))).toBeTrue();
  });

  test('is asked for at the pace of its reader', async () => {
    let made = 0;
    const piece = new Uint8Array(1 << 16);
    const { gateway, key } = await open(() => {
      const body = new ReadableStream<Uint8Array>(
        {
          pull(control) {
            made += piece.length;
            if (made > 256 << 20) control.close();
            else control.enqueue(piece);
          },
        },
        { highWaterMark: 0 },
      );
      return new Response(body, { headers: { 'content-type': 'text/event-stream' } });
    });
    const body = JSON.stringify(wish);
    const head = `POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: ${key}\r\n`;
    const socket = connect(gateway.port, '127.0.0.1', () => {
      socket.write(`${head}content-length: ${body.length}\r\n\r\n${body}`);
    });
    socket.pause();
    let before = -1;
    // It has come to rest once a while has brought nothing new.
    for (let same = 0; same < 20; same = made === before && made > 0 ? same + 1 : 0) {
      before = made;
      await Bun.sleep(20);
    }
    expect(made).toBeLessThan(64 << 20);
    socket.destroy();
  }, 30_000);

  test('that nobody reads any more ends at its provider, and its slot is free', async () => {
    let ended = 0;
    const { post } = await open(() => {
      const body = new ReadableStream<Uint8Array>({
        start: (control) => control.enqueue(new TextEncoder().encode('data: 1\n\n')),
        cancel() {
          ended += 1;
        },
      });
      return new Response(body, { headers: { 'content-type': 'text/event-stream' } });
    });
    for (let i = 0; i < SLOTS_MAX; i++) {
      const response = await post('/v1/messages', wish);
      const reader = response.body?.getReader();
      await reader?.read();
      await reader?.cancel();
    }
    await until('the provider to be left', () => ended === SLOTS_MAX);
    expect((await post('/v1/messages', wish)).status).toBe(200);
  }, 30_000);

  test('that is given up while a budget is waited for is never asked for, and its slot is free', async () => {
    let reached = 0;
    const { gateway, key, wishes, post, log } = await open(() => {
      reached += 1;
      return Response.json({});
    });
    const thinking = Promise.withResolvers<void>();
    (here as World).thinking = thinking.promise;
    for (let i = 0; i < SLOTS_MAX; i++) {
      const leave = new AbortController();
      const asked = fetch(`${gateway.url}/v1/messages`, {
        method: 'POST',
        headers: { 'x-api-key': key },
        body: JSON.stringify(wish),
        signal: leave.signal,
      }).catch(() => null);
      await until('the treasury to be asked', () => wishes.length === i + 1);
      leave.abort();
      expect(await asked).toBeNull();
    }
    await until('all to be noticed to have left', () => (here as World).left === SLOTS_MAX);
    thinking.resolve();
    await until('a slot', async () => (await post('/v1/messages', wish)).status === 200);
    expect(reached).toBe(1);
    expect(log.filter((line) => line.includes('not reached'))).toEqual([]);
  }, 30_000);

  test('that its provider breaks off breaks off', async () => {
    const { post } = await open(() => {
      const body = new ReadableStream<Uint8Array>({
        async pull(control) {
          control.enqueue(new TextEncoder().encode('data: 1\n\n'));
          await Bun.sleep(20);
          control.error();
        },
      });
      return new Response(body, { headers: { 'content-type': 'text/event-stream' } });
    });
    const response = await post('/v1/messages', wish);
    expect(response.status).toBe(200);
    await expect(response.text()).rejects.toThrow();
  });

  test('[V6] a slot is free again only once what its request used is durable', async () => {
    const stream = sse([
      'message_start',
      { message: { model: 'm', usage: { input_tokens: 5, output_tokens: 1 } } },
    ]);
    const { post } = await open(() => events(stream, 1_000));
    const durable = Promise.withResolvers<void>();
    (here as World).durable = durable.promise;
    for (let i = 0; i < SLOTS_MAX; i++) await (await post('/v1/messages', wish)).text();
    const full = await post('/v1/messages', wish);
    expect(full.status).toBe(429);
    expect(full.headers.get('retry-after')).toBe('1');
    durable.resolve();
    await until('a slot', async () => (await post('/v1/messages', wish)).status === 200);
    expect(here?.uses.length).toBeGreaterThan(SLOTS_MAX - 1);
  });
});

describe('[V2] a virtual key', () => {
  test('is kept as its hash, in a file of its user, and known after a restart', async () => {
    const { keys, key, dir } = await open(nothing);
    const again = await virtualKeys(join(dir, 'keys'), silentLog);
    expect(again.find(key)).toEqual(spender);
    expect(Bun.spawnSync(['grep', '-rF', key, dir]).exitCode).toBe(1);
    expect(statSync(join(dir, 'keys', 's1.json')).mode & 0o777).toBe(0o600);
    const second = await keys.mint(spender);
    expect([keys.find(key), keys.find(second)]).toEqual([spender, spender]);
    expect(second).not.toBe(key);
  });

  test('is void once its session is over, also for a server to come', async () => {
    const { keys, key, dir, post } = await open(nothing);
    await keys.sweep((session) => session !== 's1');
    expect(keys.find(key)).toBeNull();
    expect((await post('/v1/messages', wish)).status).toBe(401);
    expect((await virtualKeys(join(dir, 'keys'), silentLog)).find(key)).toBeNull();
  });

  test('opens the socket for instances elsewhere, too', async () => {
    const { key, dir } = await open(nothing);
    const path = join(dir, 'models.sock');
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const ask = (mine: string) =>
      fetch('http://models/v1/messages', {
        unix: path,
        method: 'POST',
        headers: { 'x-api-key': mine },
        body: JSON.stringify(wish),
      });
    expect((await ask(key)).status).toBe(200);
    expect((await ask('other')).status).toBe(401);
  });
});
