/** Who an agent is, by secret and by socket. */
import { afterEach, expect, test } from 'bun:test';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Fleet } from '../../src/actors/fleet.ts';
import type { Proof } from '../../src/agent-link.ts';
import { Failure } from '../../src/failure.ts';
import { admission, fileSecrets } from '../../src/wiring/identity.ts';

const root = mkdtempSync(join(tmpdir(), 'identity-'));
afterEach(() => rmSync(join(root, 'box'), { recursive: true, force: true }));

/** A fleet with one instance, `box`. */
const fleet = {
  isLive: (id: string) => id === 'instance:box',
  context: () => ({ spec: { instanceId: 'i-1' } }),
  view: () => ({ state: 'running' }),
} as unknown as Fleet;

/** Processes: two agents, and what the first of them runs. */
const kin = new Map([
  [100, { instance: 'box', isAgent: true }],
  [101, { instance: 'box', isAgent: false }],
  [200, { instance: 'other', isAgent: true }],
]);

const secrets = fileSecrets(root);
const admit = admission({
  secrets,
  fleet: () => fleet,
  kinOf: (pid) => kin.get(pid) ?? null,
  uid: 1_000,
  certificates: {
    standing({ spiffeId }) {
      const [, instanceId] = /^spiffe:\/\/here\/instance\/(.+)$/.exec(spiffeId) ?? [];
      if (!instanceId) throw new Failure('unauthenticated', 'of another trust domain');
      return { instanceId };
    },
  },
});

const codeOf = async (proof: Proof, agent = 'box', instanceId = 'i-1'): Promise<string> => {
  try {
    await admit(proof, agent, instanceId);
    return 'admitted';
  } catch (thrown) {
    return thrown instanceof Failure ? thrown.code : String(thrown);
  }
};
const peer = (pid: number, uid = 1_000): Proof => ({ kind: 'peer', pid, uid, gid: 1_000 });

test('[P4] on TCP only the secret of that instance proves an id', async () => {
  const path = await secrets.issue('box');
  const token = readFileSync(path, 'utf8').trim();
  expect(await codeOf({ kind: 'secret', token })).toBe('admitted');
  expect(await codeOf({ kind: 'secret', token: `${token.slice(0, -1)}x` })).toBe('unauthenticated');
  expect(await codeOf({ kind: 'secret', token: '' })).toBe('unauthenticated');
  expect(await codeOf({ kind: 'secret', token }, 'other')).toBe('unauthenticated');
  expect(await codeOf({ kind: 'none' })).toBe('unauthenticated');
  expect(await codeOf({ kind: 'secret', token }, 'box', 'i-2')).toBe('forbidden');
});

test('[P4] on the socket the process must be of the agent of the instance it claims to be', async () => {
  expect(await codeOf(peer(100))).toBe('admitted');
  expect(await codeOf(peer(101))).toBe('forbidden');
  expect(await codeOf(peer(200))).toBe('forbidden');
  expect(await codeOf(peer(300))).toBe('forbidden');
  expect(await codeOf(peer(100, 1_001))).toBe('forbidden');
});

test('[P4] a process of ours that is no instance may be an agent of its own, under a name that is free', async () => {
  expect(await codeOf(peer(300), 'elsewhere', '')).toBe('admitted');
  expect(await codeOf(peer(200), 'elsewhere', '')).toBe('forbidden');
  expect(await codeOf(peer(101), 'elsewhere', '')).toBe('forbidden');
});

test('[P4] a certificate proves the instance that its id names, and no other', async () => {
  const shown = (spiffeId: string): Proof => ({
    kind: 'certificate',
    spiffeId,
    serial: '01',
    from: 0,
    until: 1,
  });
  expect(await codeOf(shown('spiffe://here/instance/i-1'))).toBe('admitted');
  expect(await codeOf(shown('spiffe://here/instance/i-1'), 'box', '')).toBe('admitted');
  expect(await codeOf(shown('spiffe://here/instance/i-1'), 'box', 'i-2')).toBe('forbidden');
  expect(await codeOf(shown('spiffe://here/instance/i-2'))).toBe('forbidden');
  expect(await codeOf(shown('spiffe://here/instance/i-1'), 'elsewhere', '')).toBe('forbidden');
  expect(await codeOf(shown('spiffe://there/instance/i-1'))).toBe('unauthenticated');
});

test('an id is a name, and nothing that could be a path', async () => {
  for (const name of ['../box', 'Box', '', 'a'.repeat(64), 'box/secret']) {
    expect(await codeOf(peer(300), name, '')).toBe('bad-input');
  }
});

test('a secret is made once, private to its owner, and gone once revoked', async () => {
  const path = await secrets.issue('box');
  expect(statSync(path).mode & 0o777).toBe(0o600);
  const before = readFileSync(path, 'utf8');
  expect(before.trim().length).toBeGreaterThanOrEqual(43);
  await secrets.issue('box');
  expect(readFileSync(path, 'utf8')).toBe(before);
  await secrets.revoke('box');
  expect(await codeOf({ kind: 'secret', token: before.trim() })).toBe('unauthenticated');
  expect(await secrets.isRevoked('box')).toBe(true);
});

test('[C14] a revoked instance does not come in by the socket either, until it has a new secret', async () => {
  await secrets.issue('box');
  expect(await codeOf(peer(100))).toBe('admitted');
  await secrets.revoke('box');
  expect(await codeOf(peer(100))).toBe('unauthenticated');
  await secrets.issue('box');
  expect(await codeOf(peer(100))).toBe('admitted');
  // What was never there leaves nothing behind.
  await secrets.revoke('nobody');
  expect(await secrets.isRevoked('nobody')).toBe(false);
});
