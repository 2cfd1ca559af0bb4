/**
 * A whole server with an isolated container whose agent proves itself by a certificate, over the sockets of
 * its instance: enrolment, restarts of either side, a new start, revocation, and no certificates at all.
 */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { X509Certificate } from 'node:crypto';
import { lstatSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect as tlsConnect } from 'node:tls';
import type { AuditPage } from '../../src/audit.ts';
import type { InstanceView } from '../../src/views.ts';
import { type House, until } from '../e2e/house.ts';
import { docker } from './ground.ts';
import { closeRooms, containersOf, openRooms } from './rooms.ts';

let house: House;
beforeAll(async () => {
  house = await openRooms('mtls');
}, 60_000);
afterAll(async () => {
  if (house) await closeRooms(house);
}, 90_000);

const containers = () => containersOf(house);
const own = async () => docker.getContainer((await containers())[0]?.Id ?? '');
const instance = () => house.get<InstanceView>('instances/proved');
const agent = () => house.get<{ state: string; connected: boolean }>('agents/proved').catch(() => null);
const ready = () =>
  until('its agent to be ready', async () => (await agent())?.state === 'ready', { seen: () => house.log() });
const lost = () => until('its agent to be lost', async () => (await agent())?.state !== 'ready');
const exec = async (script: string) => {
  const body = { command: 'bash', args: ['-c', script], timeout_seconds: 60 };
  return (await house.post<{ stdout: string }>('agents/proved/exec', body)).stdout.trim();
};
const place = (...more: string[]) => join(house.dataDir, 'instances', 'proved', ...more);

/** What the audit log says of the identity of the instance, in its order. */
async function notes(): Promise<readonly string[]> {
  const { records } = await house.get<AuditPage>('audit?limit=1000');
  return records.filter(({ door }) => door === 'identity').map((one) => JSON.stringify(one));
}
const count = async (what: string) => (await notes()).filter((one) => one.includes(`"${what}"`)).length;

const serialOf = () => new X509Certificate(readFileSync(place('identity', 'cert.pem'))).serialNumber;

test('[C18] an isolated agent enrols by a token in a file, and the token is nowhere else and gone afterwards', async () => {
  await house.post('instances', { name: 'proved', runtime: 'container', network: { mode: 'isolated' } });
  await ready();
  expect(await exec('cat /proc/net/dev | grep -c :')).toBe('1');
  expect(await exec('ls /opt/agentic/credentials')).toBe('agent.env\nca.pem');
  expect([await count('token.granted'), await count('certificate.issued')]).toEqual([1, 1]);
  const facts = JSON.stringify(await (await own()).inspect());
  const seen = await exec('cat /proc/*/environ /proc/*/cmdline 2>/dev/null | tr "\\0" "\\n"; env');
  const logs = (await (await own()).logs({ stdout: true, stderr: true })).toString();
  for (const text of [facts, seen, logs, ...(await notes()), house.log(), journalText()]) {
    expect(text).not.toContain('asbt_');
    expect(text).not.toContain('PRIVATE KEY');
  }
}, 120_000);

test('[C18, C19] its key was made inside and is its own, and nothing else would have let it in', async () => {
  const key = lstatSync(place('identity', 'key.pem'));
  expect([key.uid, key.mode & 0o777]).toEqual([10_001, 0o600]);
  expect(readdirSync(place('credentials')).sort()).toEqual(['agent.env', 'ca.pem']);
  expect(new X509Certificate(readFileSync(place('identity', 'cert.pem'))).subjectAltName).toBe(
    `URI:spiffe://sandbox.local/instance/${(await instance()).instance_id}`,
  );
  // Its own socket shows a certificate of the server, and asks for one before it says anything.
  const mounts = (await (await own()).inspect()).Mounts;
  const socket = join(
    mounts.find(({ Destination }) => Destination === '/opt/agentic/socket')?.Source ?? '',
    's',
  );
  const said = await new Promise<string>((resolve) => {
    const caller = tlsConnect({ path: socket, rejectUnauthorized: false }, () => caller.write('hello'));
    caller.on('error', ({ message }) => resolve(message));
    caller.on('data', (bytes) => resolve(`it said ${bytes}`));
    caller.on('close', () => resolve('closed'));
  });
  expect(said).not.toContain('it said');
  await until('the refusal in the audit log', async () =>
    (await notes()).some((one) => one.includes('no certificate was shown')),
  );
}, 60_000);

test('[C18] a restart of its container and a kill -9 of the server need no other token', async () => {
  const serial = serialOf();
  await (await own()).restart({ t: 5 });
  await ready();
  await house.kill9();
  await house.start();
  await ready();
  expect(await exec('echo back')).toBe('back');
  expect([serialOf(), await count('token.granted'), await count('certificate.issued')]).toEqual([
    serial,
    1,
    1,
  ]);
}, 120_000);

test('[C20] a revocation ends the connection for good, also across a restart of the server; a new start begins anew', async () => {
  const serial = serialOf();
  const revoked = await house.post<{ certificates: number; connections: number }>('instances/proved/revoke', {
    reason: 'a test',
  });
  // One that it is just leaving is ended too.
  expect([revoked.certificates, revoked.connections > 0]).toEqual([1, true]);
  await lost();
  await house.kill9();
  await house.start();
  await until('its agent to be turned away', () => house.log().includes('was revoked'));
  // It is not waited for: the server was ready without it, and says why.
  expect(house.log()).toContain('agents: proved revoked; restart it');
  expect((await agent())?.state).not.toBe('ready');
  expect(await count('token.granted')).toBe(1);
  await house.post('instances/proved/restart');
  await ready();
  expect(await exec('echo anew')).toBe('anew');
  expect(serialOf()).not.toBe(serial);
  expect([await count('token.granted'), await count('certificate.issued')]).toEqual([2, 2]);
}, 120_000);

test('[C20] made anew it has another key and another certificate', async () => {
  const key = readFileSync(place('identity', 'key.pem'), 'utf8');
  await house.post('instances/proved/reprovision');
  await until('another key', () => {
    try {
      return readFileSync(place('identity', 'key.pem'), 'utf8') !== key;
    } catch {
      return false;
    }
  });
  await ready();
  expect(await count('certificate.issued')).toBe(3);
}, 120_000);

test('[C21] a server without certificates leaves a running agent its own, and gives the secret at the next start', async () => {
  await house.kill9();
  await house.start({ AGENTIC_ENROL_LISTEN: 'off' });
  await ready();
  expect(readdirSync(place('credentials'))).toContain('ca.pem');
  await house.post('instances/proved/restart');
  await until('the secret', () => readdirSync(place('credentials')).includes('secret'));
  await ready();
  expect(await exec('ls /opt/agentic/credentials')).toBe('agent.env\nsecret');
  expect((await instance()).state).toBe('running');
  await house.kill9();
  await house.start();
  await ready();
  await house.post('instances/proved/restart');
  await until('the roots', () => readdirSync(place('credentials')).includes('ca.pem'));
  await ready();
  expect(readdirSync(place('credentials')).sort()).toEqual(['agent.env', 'ca.pem']);
}, 180_000);

/** Everything that is written down, as bytes. */
function journalText(): string {
  return readdirSync(house.dataDir)
    .filter((name) => name.startsWith('journal'))
    .map((name) => readFileSync(join(house.dataDir, name), 'latin1'))
    .join('');
}
