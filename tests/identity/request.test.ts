/**
 * Requests for certificates as strangers send them: what openssl makes of ours, and what we make of theirs.
 */
import { afterAll, describe, expect, test } from 'bun:test';
import { generateKeyPairSync, sign } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as der from '../../proto/der.ts';
import { ecdsaWithSha256, readRequest, requestPem, requestToSign } from '../../proto/request.ts';
import { instanceOf, onlyUriOf } from '../../proto/spiffe.ts';
import { checkedRequest } from '../../src/identity/checks.ts';
import { newId } from '../../src/ids.ts';
import { cleaning, idOf, pair, refusal, request, root } from './ground.ts';

const { dir, clean } = cleaning();
afterAll(clean);

const id = idOf(newId());
const openssl = Bun.which('openssl');

/** A request whose parts may be any. */
function odd(given: {
  subject?: Uint8Array;
  names?: Uint8Array[];
  more?: Uint8Array[];
  publicKey?: Uint8Array;
}) {
  const own = pair();
  const names = given.names ?? [der.text(der.tags.uri, id)];
  const san = der.sequence(der.oid('2.5.29.17'), der.octets(der.sequence(...names)));
  const extensions = der.sequence(san, ...(given.more ?? []));
  const attribute = der.sequence(der.oid('1.2.840.113549.1.9.14'), der.set(extensions));
  const toSign = der.sequence(
    der.integer(Uint8Array.of(0)),
    given.subject ?? der.sequence(),
    given.publicKey ?? own.publicKey,
    der.element(der.context(0), attribute),
  );
  return requestPem(toSign, sign('sha256', toSign, own.privateKey));
}

const why = async (csr: string) => {
  const { code, message } = await refusal(() => checkedRequest(csr));
  expect(code).toBe('unprocessable');
  return message;
};

describe('a request', () => {
  test('of ours is read as it was made', () => {
    const made = request(id);
    expect(checkedRequest(made.csr)).toEqual({ publicKey: made.publicKey, spiffeId: id });
  });

  test('[C4] with another subject, other names, or other wishes is refused with what is wrong', async () => {
    const uri = (text: string) => der.text(der.tags.uri, text);
    const name = der.sequence(der.set(der.sequence(der.oid('2.5.4.3'), der.text(der.tags.utf8, 'web'))));
    expect(await why(odd({ subject: name }))).toContain('subject must be empty');
    expect(await why(odd({ names: [uri(id), uri(idOf(newId()))] }))).toContain('more than 1');
    expect(await why(odd({ names: [uri(id), der.text(der.tags.dns, 'a.b')] }))).toContain('more than 1');
    expect(await why(odd({ names: [der.text(der.tags.dns, 'a.b')] }))).toContain('must be a URI');
    const ca = der.sequence(der.oid('2.5.29.19'), der.octets(der.sequence(der.yes)));
    expect(await why(odd({ more: [ca] }))).toContain('more than 1');
  });

  test('[C4] of another kind of key, or of a point that is on no curve, is refused', async () => {
    expect(await why(odd({ publicKey: pair('P-384').publicKey }))).toContain('P-256');
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2_048 });
    const publicKey = new Uint8Array(rsa.publicKey.export({ type: 'spki', format: 'der' }));
    expect(await why(odd({ publicKey }))).toContain('P-256');
    const bent = pair().publicKey.slice();
    bent[bent.length - 1] = (bent.at(-1) ?? 0) ^ 1;
    expect(await why(odd({ publicKey: bent }))).toContain('cannot be taken');
  });

  test('[C4] that its key did not sign is refused', async () => {
    const made = request(id);
    const toSign = requestToSign(made.publicKey, id);
    const csr = requestPem(toSign, sign('sha256', toSign, pair().privateKey));
    expect(await why(csr)).toContain('not that of its key');
    const other = requestToSign(made.publicKey, idOf(newId()));
    expect(await why(requestPem(other, sign('sha256', toSign, made.privateKey)))).toContain('not that of');
  });

  test('[C4] that is nonsense is refused, whatever it is, and quickly', async () => {
    const good = der.fromPem('CERTIFICATE REQUEST', request(id).csr);
    expect(await why('')).toContain('PEM');
    expect(await why('x'.repeat(10_000))).toContain('longer than');
    expect(await why(root().pem)).toContain('PEM');
    const read = (bytes: Uint8Array) => checkedRequest(der.toPem('CERTIFICATE REQUEST', bytes));
    for (let cut = 0; cut < good.length; cut++) {
      expect((await refusal(() => read(good.subarray(0, cut)))).code).toBe('unprocessable');
    }
    // No bit of it may be another without being noticed.
    for (let bit = 0; bit < good.length * 8; bit++) {
      const bent = good.slice();
      bent[bit >> 3] = (bent[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect((await refusal(() => read(bent))).code).toBe('unprocessable');
    }
  });

  test('that openssl made is taken, and openssl takes ours', () => {
    if (!openssl) return console.log('skipped: no openssl on this machine');
    const place = dir('openssl');
    const [conf, key, csr] = ['req.conf', 'key.pem', 'csr.pem'].map((name) => join(place, name)) as [
      string,
      string,
      string,
    ];
    writeFileSync(
      conf,
      `[req]\ndistinguished_name=dn\nreq_extensions=v3\nprompt=no\n[dn]\n[v3]\nsubjectAltName=URI:${id}\n`,
    );
    const run = (...words: string[]) => {
      const { exitCode, stderr, stdout } = Bun.spawnSync([openssl, ...words]);
      return { exitCode, said: stdout.toString() + stderr.toString() };
    };
    run('ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', key);
    const made = run('req', '-new', '-key', key, '-config', conf, '-subj', '/', '-out', csr);
    expect(made.exitCode, made.said).toBe(0);
    expect(checkedRequest(require('node:fs').readFileSync(csr, 'utf8')).spiffeId).toBe(id);
    writeFileSync(csr, request(id).csr);
    const checked = run('req', '-in', csr, '-noout', '-verify', '-text');
    expect(checked.said).toContain('verify OK');
    expect(checked.said).toContain(`URI:${id}`);
  });
});

describe('DER', () => {
  test('lengths that are longer than they must be, indefinite or out of reach are refused', () => {
    const bad = [[0x30], [0x30, 0x80], [0x30, 0x81, 0x05], [0x30, 0x84, 0, 0, 0, 1, 0], [0x1f, 0x01, 0x00]];
    for (const bytes of bad) expect(() => der.readElement(Uint8Array.from(bytes))).toThrow(SyntaxError);
    const long = der.octets(new Uint8Array(70_000));
    expect(der.readElement(long).value.length).toBe(70_000);
    expect(() => der.only(Uint8Array.of(5, 0, 0), der.tags.null)).toThrow('something follows');
  });

  test('numbers are positive, oids as they are registered, years as RFC 5280 wants them', () => {
    expect([...der.integer(Uint8Array.of(0, 0x80))]).toEqual([2, 2, 0, 0x80]);
    expect(Buffer.from(der.oid('1.2.840.10045.4.3.2')).toString('hex')).toBe('06082a8648ce3d040302');
    expect(Buffer.from(der.time(Date.UTC(2049, 11, 31, 23, 59, 59))).toString()).toContain('491231235959Z');
    expect(Buffer.from(der.time(Date.UTC(2050, 0, 1))).toString()).toContain('20500101000000Z');
    expect(ecdsaWithSha256.length).toBe(12);
    expect(() =>
      readRequest('-----BEGIN CERTIFICATE REQUEST-----\nMAA=\n-----END CERTIFICATE REQUEST-----'),
    ).toThrow();
  });
});

test('a SPIFFE id is that of an instance, or nothing', () => {
  const uuid = newId();
  expect(instanceOf(idOf(uuid))).toEqual({ domain: 'sandbox.local', instanceId: uuid });
  const bad = [
    `spiffe://sandbox.local/instance/${uuid}/x`,
    `spiffe://sandbox.local/agent/${uuid}`,
    `spiffe://Sandbox.local/instance/${uuid}`,
    `spiffe://sandbox.local:1/instance/${uuid}`,
    `spiffe://a..b/instance/${uuid}`,
    `spiffe://sandbox.local/instance/${uuid.toUpperCase()}`,
    `spiffe://sandbox.local/instance/${uuid}\n`,
    `https://sandbox.local/instance/${uuid}`,
    '',
  ];
  for (const one of bad) expect(instanceOf(one), one).toBeNull();
  expect(onlyUriOf('URI:spiffe://a/b')).toBe('spiffe://a/b');
  expect(onlyUriOf('DNS:x, URI:spiffe://a/b')).toBe('spiffe://a/b');
  expect(onlyUriOf('URI:spiffe://a/b, URI:spiffe://a/c')).toBeNull();
  expect(onlyUriOf('DNS:"x, URI:spiffe://a/b"')).toBeNull();
  expect(onlyUriOf(undefined)).toBeNull();
});
