/** Every authority keeps the same rules; then what is each one's own. */
import { afterEach, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { X509Certificate } from 'node:crypto';
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { CertificateAuthority } from '../../src/certificates.ts';
import { systemClock } from '../../src/clock.ts';
import { checkedChain, isIssuedUnder } from '../../src/identity/checks.ts';
import { commandAuthority } from '../../src/identity/command-authority.ts';
import { localAuthority } from '../../src/identity/local-authority.ts';
import { newId } from '../../src/ids.ts';
import { silentLog } from '../../src/log.ts';
import { cleaning, DOMAIN, idOf, refusal, request } from './ground.ts';

/** Programs are started for most of this. */
setDefaultTimeout(60_000);

const { dir, clean } = cleaning();
afterEach(clean);

const local = (place: string, trustDomain = DOMAIN) =>
  localAuthority({ dir: join(place, 'ca'), trustDomain, clock: systemClock });

interface Warned {
  readonly warnings: object[];
}

function program(place: string): string {
  const path = join(place, 'signer');
  const source = join(import.meta.dir, 'signer.ts');
  writeFileSync(path, `#!/bin/sh\nexec "${process.execPath}" "${source}" "$1"\n`);
  chmodSync(path, 0o700);
  return path;
}

function command(
  place: string,
  { timeoutMs = 15_000, warnings = [] }: Partial<Warned> & { timeoutMs?: number } = {},
) {
  const env = { PATH: process.env['PATH'] ?? '', AGENTIC_CA_TEST_DIR: place };
  const log = { ...silentLog, warn: (_: string, fields: object = {}) => void warnings.push(fields) };
  return commandAuthority({
    program: program(place),
    trustDomain: DOMAIN,
    clock: systemClock,
    log,
    env,
    timeoutMs,
  });
}

const TTL_MS = 3_600_000;
const openssl = Bun.which('openssl');

function contract(name: string, make: (place: string) => Promise<CertificateAuthority>) {
  describe(`the ${name} authority`, () => {
    test('[C2] an agent gets a leaf for clients, with its SPIFFE id for its only name, for as long as asked', async () => {
      const place = dir(name);
      const authority = await make(place);
      const spiffeId = idOf(newId());
      const { csr, publicKey } = request(spiffeId);
      const wanted = { csr, spiffeId, purpose: 'agent', names: [], ttlMs: TTL_MS } as const;
      const pem = await authority.issue(wanted);
      const bundle = await authority.trustBundle();
      const at = Date.now();
      const shown = checkedChain(pem, { spiffeId, purpose: 'agent', publicKey, ttlMs: TTL_MS, bundle, at });
      expect(shown.spiffeId).toBe(spiffeId);
      expect(Math.abs(shown.until - at - TTL_MS)).toBeLessThan(20_000);
      expect(at - shown.from).toBeGreaterThan(50_000);
      const leaf = new X509Certificate(pem);
      expect(leaf.subjectAltName).toBe(`URI:${spiffeId}`);
      expect(leaf.keyUsage).toEqual(['1.3.6.1.5.5.7.3.2']);
      expect([leaf.ca, leaf.subject || '']).toEqual([false, '']);
      expect(new X509Certificate(await authority.issue(wanted)).serialNumber).not.toBe(leaf.serialNumber);
      if (!openssl) return console.log('not shown to openssl: there is none on this machine');
      const [ca, cert] = [join(place, 'ca-shown.pem'), join(place, 'leaf.pem')];
      writeFileSync(ca, bundle);
      writeFileSync(cert, pem);
      const strict = ['-x509_strict', '-purpose', 'sslclient'];
      const { stdout, stderr } = Bun.spawnSync([openssl, 'verify', ...strict, '-CAfile', ca, cert]);
      expect(stdout.toString() + stderr.toString()).toContain(': OK');
    });

    test('[C2] the server gets a leaf for servers, with the names that were asked for', async () => {
      const authority = await make(dir(name));
      const spiffeId = `spiffe://${DOMAIN}/server`;
      const { csr, publicKey } = request(spiffeId);
      const names = ['server.sandbox.local', '127.0.0.1', '2001:db8::1'];
      const pem = await authority.issue({ csr, spiffeId, purpose: 'server', names, ttlMs: TTL_MS });
      const bundle = await authority.trustBundle();
      checkedChain(pem, { spiffeId, purpose: 'server', publicKey, ttlMs: TTL_MS, bundle, at: Date.now() });
      const leaf = new X509Certificate(pem);
      expect(leaf.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1']);
      expect(leaf.checkHost('server.sandbox.local')).toBe('server.sandbox.local');
      expect([leaf.checkIP('127.0.0.1'), leaf.checkIP('2001:db8::1')]).toEqual(['127.0.0.1', '2001:db8::1']);
      expect(leaf.checkHost('another.local')).toBeUndefined();
    });

    test('says that it is well, and stays the same authority when it is opened again', async () => {
      const place = dir(name);
      const before = await make(place);
      const bundle = await before.trustBundle();
      expect(await before.health()).toEqual({ available: true, reasons: [] });
      expect(await (await make(place)).trustBundle()).toBe(bundle);
      expect(isIssuedUnder([new X509Certificate(bundle)], bundle, Date.now())).toBe(true);
    });
  });
}

contract('local', (place) => local(place));
contract('command', async (place) => command(place));

describe('the local authority', () => {
  test("[C1] is made whole once, however many begin at once, and its key is its owner's only", async () => {
    const place = dir('whole');
    const made = await Promise.all(Array.from({ length: 5 }, () => local(place)));
    expect(new Set(await Promise.all(made.map((one) => one.trustBundle()))).size).toBe(1);
    expect(readdirSync(place)).toEqual(['ca']);
    expect(statSync(join(place, 'ca')).mode & 0o777).toBe(0o700);
    expect(statSync(join(place, 'ca', 'root-key.pem')).mode & 0o777).toBe(0o600);
    const [root] = await Promise.all(made.map((one) => one.trustBundle()));
    expect(new X509Certificate(root ?? '').subjectAltName).toBe(`URI:spiffe://${DOMAIN}`);
  });

  test('[C1] what a crash left half made is passed over', async () => {
    const place = dir('half');
    mkdirSync(join(place, 'ca.018f'), { recursive: true });
    writeFileSync(join(place, 'ca.018f', 'root-key.pem'), 'torn');
    expect((await (await local(place)).health()).available).toBe(true);
  });

  test('[C1] half of one, one of another trust domain, and a key that others may read are refused by name', async () => {
    const place = dir('refused');
    await local(place);
    const key = join(place, 'ca', 'root-key.pem');
    expect((await refusal(local(place, 'other.local'))).message).toContain('other.local');
    chmodSync(key, 0o640);
    expect((await refusal(local(place))).message).toContain('chmod 600');
    chmodSync(key, 0o600);
    renameSync(key, `${key}.away`);
    expect(await refusal(local(place))).toMatchObject({
      code: 'wrong-state',
      message: expect.stringContaining('half of the authority'),
    });
    await local(dir('another'));
    const theirs = dir('theirs');
    await local(theirs);
    writeFileSync(key, readFileSync(join(theirs, 'ca', 'root-key.pem')), { mode: 0o600 });
    expect((await refusal(local(place))).message).toContain('not that of the certificate');
  });
});

describe('a program that signs', () => {
  const spiffeId = idOf(newId());
  const issued = async (authority: CertificateAuthority, bundle: string) => {
    const { csr, publicKey } = request(spiffeId);
    const wanted = { csr, spiffeId, purpose: 'agent', names: [], ttlMs: TTL_MS } as const;
    const pem = await authority.issue(wanted);
    return checkedChain(pem, { ...wanted, publicKey, bundle, at: Date.now() });
  };

  test('[C3] gives out nothing but what was asked for', async () => {
    const place = dir('tricks');
    const authority = command(place);
    const bundle = await authority.trustBundle();
    const why = async (trick: string) => {
      writeFileSync(join(place, 'trick'), trick);
      const { code, message } = await refusal(issued(authority, bundle));
      expect(code).toBe('authority-away');
      return message;
    };
    expect(await why('other-id')).toContain('is for spiffe://');
    expect(await why('server')).toContain('for clients only');
    expect(await why('names')).toContain('other names');
    expect(await why('long')).toContain('longer than was asked');
    expect(await why('other-key')).toContain('another key');
    expect(await why('other-request')).toContain('request_id');
    expect(await why('prose')).toContain('JSON');
  });

  test('[C3] is cut off when it takes too long or says too much, and its complaint is in the log only', async () => {
    const place = dir('bounds');
    const warnings: object[] = [];
    const authority = command(place, { warnings });
    writeFileSync(join(place, 'trick'), 'broken');
    const { message } = await refusal(authority.trustBundle());
    expect(message).toContain('ended with 7');
    expect(message).not.toContain('s3cr3t');
    expect(JSON.stringify(warnings)).toContain('s3cr3t');
    writeFileSync(join(place, 'trick'), 'flood');
    expect((await refusal(authority.trustBundle())).message).toContain('more than');
    expect((await authority.health()).available).toBe(false);
    writeFileSync(join(place, 'trick'), 'newer');
    expect((await refusal(command(place).trustBundle())).message).toContain('protocol 2');
    writeFileSync(join(place, 'trick'), 'hang');
    const slow = await refusal(command(place, { timeoutMs: 300 }).trustBundle());
    expect(slow.message).toContain('longer than 300 ms');
    const none = commandAuthority({
      program: join(place, 'not-there'),
      trustDomain: DOMAIN,
      clock: systemClock,
      log: silentLog,
      env: {},
    });
    expect((await refusal(none.trustBundle())).message).toContain('cannot be started');
  });

  test('[C3] sees of our environment only what is meant for it', async () => {
    const place = dir('env');
    await command(place).trustBundle();
    const seen = readFileSync(join(place, 'seen-env'), 'utf8').split('\n');
    expect(seen).toContain('AGENTIC_CA_TEST_DIR');
    const own = seen.filter((name) => !/^(PATH|AGENTIC_CA_\w+|PWD|OLDPWD|SHLVL|_)$/.test(name));
    expect(own).toEqual([]);
  });
});
