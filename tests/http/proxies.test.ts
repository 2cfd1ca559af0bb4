/** Who a request comes from, when proxies stand between. */
import { describe, expect, test } from 'bun:test';
import { readConfig } from '../../src/config.ts';
import { clientOf, proxies } from '../../src/http/proxies.ts';
import { house, tokens } from './world.ts';

const trusted = proxies(['127.0.0.0/8', '::1', '10.0.0.0/8', 'fd00::/8']);
const seen = (headers: Record<string, string>, address: string | null = '127.0.0.1') =>
  clientOf(new Request('http://localhost/', { headers: { host: 'inner:8122', ...headers } }), {
    address,
    secure: false,
    proxies: trusted,
  });

describe('the client', () => {
  test('[O12] is the first address from the right that is no trusted hop', () => {
    const of = (list: string, from?: string) => seen({ 'x-forwarded-for': list }, from).address;
    expect(of('203.0.113.9')).toBe('203.0.113.9');
    expect(of('1.1.1.1, 203.0.113.9')).toBe('203.0.113.9');
    expect(of('1.1.1.1, 203.0.113.9, 10.1.1.1, 10.2.2.2')).toBe('203.0.113.9');
    expect(of('10.9.9.9, 10.1.1.1')).toBe('10.9.9.9');
    expect(of('203.0.113.9:4711')).toBe('203.0.113.9');
    expect(of('[2001:db8::7]:4711', '::1')).toBe('2001:db8::7');
    expect(of('2001:db8::7, fd00::1')).toBe('2001:db8::7');
    expect(of('203.0.113.9', '::ffff:127.0.0.1')).toBe('203.0.113.9');
    // What is no address hides whoever is behind it: the last one that is known counts.
    expect(of('203.0.113.9, unknown')).toBe('127.0.0.1');
    expect(of('203.0.113.9, garbage, 10.1.1.1')).toBe('10.1.1.1');
    expect(of('')).toBe('127.0.0.1');
  });

  test('[O12] is whoever connects, where that is no trusted hop or nobody is in front', () => {
    const spoofed = {
      'x-forwarded-for': '1.1.1.1',
      'x-forwarded-proto': 'https',
      'x-forwarded-host': 'evil.example',
    };
    const direct = { address: '203.0.113.9', proxied: false, secure: false, host: 'inner:8122' };
    expect(seen(spoofed, '203.0.113.9')).toEqual(direct);
    expect(
      clientOf(new Request('http://localhost/', { headers: { host: 'inner:8122', ...spoofed } }), {
        address: '127.0.0.1',
        secure: true,
        proxies: null,
      }),
    ).toEqual({ ...direct, address: '127.0.0.1', secure: true });
  });

  test('[O12] has the scheme and the name that the proxy says', () => {
    expect(
      seen({
        'x-forwarded-for': '203.0.113.9',
        'x-forwarded-proto': 'http, https',
        'x-forwarded-host': 'evil.example, Agents.Example.org',
      }),
    ).toEqual({ address: '203.0.113.9', proxied: true, secure: true, host: 'agents.example.org' });
    expect(
      seen({
        forwarded:
          'for=1.1.1.1;host=evil.example, for="[2001:db8::7]:9";proto=https;host=a.example, for=10.1.1.1',
      }),
    ).toEqual({ address: '2001:db8::7', proxied: true, secure: true, host: 'a.example' });
  });

  test('[O12] cannot be told where two headers speak, and that is refused', () => {
    expect(() => seen({ forwarded: 'for=1.1.1.1', 'x-forwarded-for': '2.2.2.2' })).toThrow(
      'remove the other',
    );
  });

  test('[O12] networks that are none are named', () => {
    for (const wrong of ['10.0.0.0/33', '10.0.0/8', 'localhost', '10.0.0.0/', '::/129', '1.2.3.4/x'])
      expect(() => proxies([wrong])).toThrow(wrong);
    const { trustedProxies } = readConfig({ AGENTIC_TRUSTED_PROXIES: '10.0.0.0/8, ::1' }, '/', '/');
    expect(trustedProxies).toEqual(['10.0.0.0/8', '::1']);
    expect(proxies(readConfig({}, '/', '/').trustedProxies).isTrusted('127.9.9.9')).toBe(true);
  });
});

test('[O12, W4] a client behind the proxy has its own rate, and is the one in the audit log', async () => {
  let held: Awaited<ReturnType<typeof tokens>> | null = null;
  const proxied = await house({
    async prepare({ access }) {
      held = await tokens(access);
    },
    options: { behindProxy: true, limits: { rate: { perSecond: 1, burst: 3 } } },
  });
  try {
    const ask = (from: string) =>
      proxied.post('/api/v1/instances/local/stop', undefined, {
        authorization: `Bearer ${held?.operator}`,
        'x-forwarded-for': from,
      });
    for (let i = 0; i < 3; i++) expect((await ask('203.0.113.1')).status).toBe(200);
    expect((await ask('203.0.113.1')).status).toBe(429);
    expect((await ask('203.0.113.2')).status).toBe(200);
    const { records } = await proxied.audit.read({
      before: null,
      limit: 1,
      caller: 'operator',
      route: null,
      outcome: null,
      since: null,
      until: null,
    });
    expect(records[0]).toMatchObject({ from: '203.0.113.2', proxied: true });
  } finally {
    await proxied.remove();
  }
});
