/** When identities end, and in which order. */
import { expect, test } from 'bun:test';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { auditLog } from '../../src/audit/log.ts';
import { verifyAudit } from '../../src/audit/verify.ts';
import type { Register } from '../../src/certificates.ts';
import { systemClock } from '../../src/clock.ts';
import { readConfig } from '../../src/config.ts';
import { Failure } from '../../src/failure.ts';
import { silentLog } from '../../src/log.ts';
import type { Runtime } from '../../src/runtime.ts';
import {
  auditedIn,
  identityDesk,
  identityPlaces,
  instanceNamed,
  revokeInstance,
} from '../../src/wiring/certificates.ts';
import type { House } from '../../src/wiring/house.ts';
import { instanceEffects } from '../../src/wiring/instances.ts';

const signal = new AbortController().signal;

/** A house with one instance, `box`, that writes down what is done to it. */
function ground(state = 'running', sessions: readonly string[] = []) {
  const did: string[] = [];
  const runtime = {
    recover: async () => false,
    destroy: async ({ name }: { name: string }) => void did.push(`runtime destroys ${name}`),
    create: async () => {
      did.push('runtime creates');
      return { version: 1, runtime: 'host', name: 'box' };
    },
  } as unknown as Runtime;
  const view = { name: 'box', instance_id: 'i-1', state };
  const house = {
    share: null,
    clock: { now: () => 5 },
    credentials: { models: { forget: async (id: string) => void did.push(`voids the keys of ${id}`) } },
    runtimes: new Map([['host', runtime]]),
    fleet: {
      views: () => [view],
      view: (id: string) => (id === 'instance:box' ? view : null),
      context: (id: string) => {
        if (id === 'instance:box') return { spec: { instanceId: 'i-1' } };
        return id.startsWith('session:') ? { id: id.slice('session:'.length) } : null;
      },
      children: () => sessions.map((id) => ({ id: `session:${id}` })),
    },
  } as unknown as House;
  const register = {
    trustDomain: 'here',
    grant: (id: string, by: string) => {
      did.push(`${by} grants ${id}`);
      return { token: 'asbt_t', spiffeId: `spiffe://here/instance/${id}`, expiresAt: 1 };
    },
    revoke: (id: string, { reason }: { reason: string }) => {
      did.push(`revoked ${id}: ${reason}`);
      return { at: 0, certificates: 2, tokens: 1 };
    },
  } as unknown as Register;
  const secrets = {
    issue: async () => '',
    matches: async () => false,
    isRevoked: async () => false,
    revoke: async (name: string) => void did.push(`forgets the secret of ${name}`),
  };
  const cut = ({ agent }: { agent: string }, { code }: Failure) => {
    did.push(`cuts ${agent} off: ${code}`);
    return 3;
  };
  const end = (name: string, reason: string) =>
    revokeInstance(house, { register, secrets, cut }, { name, by: 'house', reason });
  return { did, house, register, secrets, cut, end };
}

test('[C14] what is made anew is destroyed, then revoked, and only then made', async () => {
  const { did, house, end } = ground();
  const effects = instanceEffects(house, { revoke: end, isRevoked: async () => false });
  const spec = { name: 'box', instanceId: 'i-1', runtime: 'host' } as const;
  await effects.create({ spec, anew: false } as never, { signal } as never);
  expect(did.splice(0)).toEqual(['runtime creates']);
  await effects.create({ spec, anew: true } as never, { signal } as never);
  expect(did).toEqual([
    'runtime destroys box',
    'forgets the secret of box',
    'revoked i-1: its instance was made anew',
    'cuts box off: unauthenticated',
    'runtime creates',
  ]);
});

test('[C14] what is destroyed is revoked, and what has no instance any more has nothing to revoke', async () => {
  const { did, house, end } = ground();
  const handle = { version: 1, runtime: 'host', name: 'box' } as const;
  await instanceEffects(house, { revoke: end, isRevoked: async () => false }).destroy(
    { handle, spec: { name: 'box', instanceId: 'i-1' } } as never,
    { signal } as never,
  );
  expect(did).toContain('revoked i-1: its instance was destroyed');
  expect(await end('gone', 'x')).toEqual({ revoked_at: '', certificates: 0, tokens: 0, connections: 0 });
});

test('[G37] what ends while it is revoked is told so, and does not come back by itself', async () => {
  for (const isOut of [true, false]) {
    const { house, end } = ground();
    const { watch } = instanceEffects(house, { revoke: end, isRevoked: async () => isOut });
    const told = Promise.withResolvers<object>();
    const scope = { send: told.resolve, signal } as never;
    watch({ handle: { version: 1, runtime: 'host', name: 'box' } } as never, scope);
    const { type, reason, isRevoked } = (await told.promise) as Record<string, unknown>;
    expect([type, isRevoked]).toEqual(['runtime.exited', isOut ? true : undefined]);
    expect(reason).toEndWith('it was not running when the server looked');
    expect(String(reason).includes('its identity was revoked')).toBe(isOut);
  }
});

test('[C27] what was never made to its end is destroyed by its name, whatever there is of it', async () => {
  const { did, house, end } = ground('failed');
  const spec = { name: 'box', instanceId: 'i-1', runtime: 'host' };
  await instanceEffects(house, { revoke: end, isRevoked: async () => false }).destroy(
    { handle: null, spec } as never,
    { signal } as never,
  );
  expect(did[0]).toBe('runtime destroys box');
});

test('[V17] a token is for an instance that lives; one that is revoked has no key of a model any more', async () => {
  const desk = (state: string, enrolUrl: string | null) => {
    const { did, house, ...rest } = ground(state, ['s-1']);
    const authority = { kind: 'local', health: async () => ({ available: true, reasons: [] }) } as never;
    const places = { grpcTls: '127.0.0.1:1', enrolUrl };
    const vsock = () => ({ available: false, cid: null, reasons: [] });
    return { did, ...identityDesk(house, { ...rest, authority, vsock, places, caPem: () => 'PEM' }) };
  };
  const codeOf = async (promise: Promise<unknown>) => {
    const thrown = await promise.then(
      () => null,
      (failure) => failure,
    );
    return thrown instanceof Failure ? thrown.code : thrown;
  };
  const on = desk('running', 'https://h/enrol');
  expect(await on.bootstrap('box', 'olga')).toMatchObject({ token: 'asbt_t', enrol_url: 'https://h/enrol' });
  expect(on.did).toEqual(['olga grants i-1']);
  expect(await on.revoke('box', { by: 'olga', reason: 'x' })).toMatchObject({
    certificates: 2,
    connections: 3,
  });
  expect(on.did.slice(-2)).toEqual(['cuts box off: unauthenticated', 'voids the keys of s-1']);
  expect(await codeOf(on.bootstrap('nope', 'olga'))).toBe('not-found');
  expect(await codeOf(on.revoke('nope', { by: 'olga', reason: 'x' }))).toBe('not-found');
  expect(await codeOf(desk('destroying', 'https://h').bootstrap('box', 'olga'))).toBe('wrong-state');
  expect(await codeOf(desk('destroyed', 'https://h').bootstrap('box', 'olga'))).toBe('not-found');
  expect(await codeOf(desk('running', null).bootstrap('box', 'olga'))).toBe('not-implemented');
});

test('an id names an instance only while it lives', () => {
  const named = (state: string) => instanceNamed(() => ground(state).house.fleet);
  expect(named('running')('i-1')).toBe('box');
  expect(named('running')('i-2')).toBeNull();
  expect(named('destroying')('i-1')).toBeNull();
});

test('agents are told where we listen, or what the operator says', () => {
  const config = {
    trustDomain: 'here',
    tls: { host: '0.0.0.0', port: 8_123 },
    enrol: { host: '::1', port: 0 },
    enrolUrl: null,
    names: ['box.lan'],
    authority: null,
    agentTtlMs: 1,
    serverTtlMs: 1,
    tokenTtlMs: 1,
  };
  const ports = { tls: 8_123, enrol: 9_000 };
  expect(identityPlaces(config, { ports, path: '/e' })).toEqual({
    grpcTls: 'box.lan:8123',
    enrolUrl: 'https://[::1]:9000/e',
  });
  const told = identityPlaces({ ...config, enrolUrl: 'https://x/y' }, { ports, path: '/e' });
  expect(told.enrolUrl).toBe('https://x/y');
  const off = identityPlaces(config, { ports: { tls: null, enrol: null }, path: '/e' });
  expect(off).toEqual({ grpcTls: null, enrolUrl: null });
});

test('the ports are beside the others, and may be elsewhere or nowhere', () => {
  const of = (env: Record<string, string>) => readConfig(env, '/', '/').identity;
  const loopback = (port: number) => ({ host: '127.0.0.1', port });
  expect([of({}).tls, of({}).enrol]).toEqual([loopback(8_123), loopback(8_124)]);
  const any = of({ LISTEN_ADDR: '127.0.0.1:0' });
  expect([any.tls, any.enrol]).toEqual([loopback(0), loopback(0)]);
  for (const off of ['', '0', 'off']) expect(of({ AGENTIC_GRPC_TLS_LISTEN: off }).tls).toBeNull();
  expect(of({ AGENTIC_GRPC_TLS_LISTEN: '[::]:99' }).tls).toEqual({ host: '::', port: 99 });
  const bad = [
    { AGENTIC_GRPC_TLS_LISTEN: 'somewhere' },
    { AGENTIC_TRUST_DOMAIN: 'Not A Domain' },
    { AGENTIC_TLS_NAMES: 'a b' },
    { AGENTIC_CA_COMMAND: 'signer' },
    { AGENTIC_ENROL_URL: 'http://h' },
    { AGENTIC_AGENT_CERT_SECONDS: '1' },
  ];
  for (const env of bad) expect(() => of(env as never), Object.keys(env)[0]).toThrow(Object.keys(env)[0]);
});

test('[C8, O1] attempts stand in the audit log, chained, with who asked and without a token', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'audited-'));
  const audit = await auditLog({ dir, clock: systemClock, log: silentLog, keepDays: 90 });
  try {
    const audited = auditedIn(audit);
    const spiffeId = 'spiffe://here/instance/i-1';
    await audited.note({
      what: 'certificate.issued',
      outcome: 'success',
      actor: '10.0.0.1',
      spiffeId,
      details: { serial: 'AB' },
    });
    const details = { code: 'token-consumed', reason: `asbt_${'A'.repeat(43)} was used already` };
    audited.tell({ what: 'certificate.refused', outcome: 'denied', actor: '10.0.0.2', spiffeId, details });
    audited.tell({ what: 'identity.revoked', outcome: 'success', actor: 'olga', spiffeId, details: {} });
    await audited.ready();
    await audited.note({ what: 'token.granted', outcome: 'success', actor: 'olga', spiffeId, details: {} });
    const query = {
      before: null,
      limit: 10,
      caller: null,
      route: null,
      outcome: null,
      since: null,
      until: null,
    };
    const { records } = await audit.read(query);
    expect(records.map(({ method, outcome, from, code }) => [method, outcome, from, code])).toEqual([
      ['token.granted', 'done', null, null],
      ['identity.revoked', 'done', null, null],
      ['certificate.refused', 'refused', '10.0.0.2', 'token-consumed'],
      ['certificate.issued', 'done', '10.0.0.1', null],
    ]);
    expect(records.at(-1)).toMatchObject({
      door: 'identity',
      params: { actor: '10.0.0.1', spiffe_id: spiffeId, serial: 'AB' },
    });
    expect(await verifyAudit(dir)).toMatchObject({ broken: null });
    const text = readdirSync(dir)
      .map((name) => readFileSync(join(dir, name), 'utf8'))
      .join('');
    expect(text).not.toContain('AAAA');
  } finally {
    await audit.close();
    rmSync(dir, { recursive: true, force: true });
  }
});

test('hole B2: no two doors have one port, whichever is the first', () => {
  for (const listen of ['127.0.0.1:8120', '127.0.0.1:9000']) {
    const { listen: first, identity } = readConfig({ LISTEN_ADDR: listen }, '/', '/');
    // WebSockets and HTTP are one and two above, as main/doors.ts has them.
    const ports = [first.port, first.port + 1, first.port + 2, identity.tls?.port, identity.enrol?.port];
    expect(ports).toEqual([0, 1, 2, 3, 4].map((step) => first.port + step));
  }
});
