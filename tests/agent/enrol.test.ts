/** Enrolment as the agent sees it, against servers that answer anything but what they should. */
import { afterEach, describe, expect, test } from 'bun:test';
import { X509Certificate } from 'node:crypto';
import { chmodSync, existsSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { EnrolFailed, enrol, tokenIn } from '../../agent/enrol.ts';
import { identity, renewAt } from '../../agent/identity.ts';
import { held, keep, newRequest, tlsMaterial } from '../../agent/keys.ts';
import { readOptions } from '../../agent/options.ts';
import { BACKDATE_MS, leafPem } from '../../src/identity/certificate.ts';
import { checkedRequest } from '../../src/identity/checks.ts';
import { newId, newSerial } from '../../src/ids.ts';
import { cleaning, DOMAIN, forged, idOf, type Root, root } from '../identity/ground.ts';

const { dir, add, clean } = cleaning();
afterEach(clean);

const spiffeId = idOf(newId());
const TTL_MS = 3_600_000;

function signed(
  by: Root,
  csr: string,
  { id = spiffeId, fromMs = -BACKDATE_MS, ttlMs = TTL_MS } = {},
): string {
  const { publicKey } = checkedRequest(csr);
  const validity = { from: Date.now() + fromMs, until: Date.now() + ttlMs };
  const leaf = { publicKey, spiffeId: id, names: [], validity, serial: newSerial() };
  return leafPem(by.issuer, { ...leaf, purpose: 'agent' });
}

interface Told {
  readonly token: string;
  readonly spiffe_id: string;
  readonly csr_pem: string;
}

/** Answers with what `answer` makes of a request; shows a certificate of `by` for `id`. */
function server(by: Root, answer: (told: Told) => Response, id = `spiffe://${DOMAIN}/server`) {
  const { cert, key } = forged(by, id, { purpose: 'server' });
  const heard: string[] = [];
  const http = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    tls: { cert, key },
    async fetch(request) {
      const text = await request.text();
      heard.push(text);
      return answer(JSON.parse(text) as Told);
    },
  });
  add(() => void http.stop(true));
  return { url: `https://127.0.0.1:${http.port}/api/v1/enrol`, heard };
}

function ground(pinned: Root, url: string) {
  const place = dir('agent-enrol');
  const tokenFile = join(place, 'token');
  const caFile = join(place, 'pinned.pem');
  writeFileSync(tokenFile, 'asbt_one-time\n', { mode: 0o600 });
  writeFileSync(caFile, pinned.pem);
  return { place, tls: join(place, 'tls'), bootstrap: { url, tokenFile, caFile, spiffeId } };
}

const given = (certificate_pem: string, ca_pem: string) =>
  Response.json({ certificate_pem, ca_pem }, { status: 201 });

async function failure(promise: Promise<unknown>): Promise<EnrolFailed> {
  try {
    await promise;
  } catch (thrown) {
    if (thrown instanceof EnrolFailed) return thrown;
    throw thrown;
  }
  throw new Error('it did not fail');
}

describe('enrolment', () => {
  test('[C16] sends a request and a token, never a key, and leaves three private files and no token', async () => {
    const by = root();
    const { url, heard } = server(by, ({ csr_pem }) => given(signed(by, csr_pem), by.pem));
    const on = ground(by, url);
    await enrol(on.bootstrap, 'asbt_one-time', on.tls);
    expect(Object.keys(JSON.parse(heard[0] ?? ''))).toEqual(['token', 'spiffe_id', 'csr_pem']);
    expect(heard.join()).not.toContain('PRIVATE');
    expect(existsSync(on.bootstrap.tokenFile)).toBe(false);
    expect(held(on.tls)).toMatchObject({ spiffeId, ca: by.pem });
    for (const name of ['cert', 'key', 'ca'])
      expect(statSync(join(on.tls, `${name}.pem`)).mode & 0o777).toBe(0o600);
  });

  test('[C16] takes no certificate for another id, another key, another time, or of another root', async () => {
    const [by, another] = [root(), root()];
    const other = newRequest(spiffeId);
    const cases: [(told: Told) => Response, string][] = [
      [({ csr_pem }) => given(signed(by, csr_pem, { id: idOf(newId()) }), by.pem), 'and not for'],
      [() => given(signed(by, other.csr), by.pem), 'another key'],
      [({ csr_pem }) => given(signed(by, csr_pem, { fromMs: -7_200_000, ttlMs: -1_000 }), by.pem), 'clock'],
      [({ csr_pem }) => given(signed(by, csr_pem, { fromMs: 60_000 }), by.pem), 'clock'],
      [({ csr_pem }) => given(signed(another, csr_pem), by.pem), 'no root that we trust'],
      [({ csr_pem }) => given(signed(another, csr_pem), another.pem), 'roots are not those'],
      [({ csr_pem }) => given(signed(by, csr_pem), by.pem + another.pem), 'roots are not those'],
      [() => given('', by.pem), 'no certificate'],
      [() => Response.json({ certificate_pem: 1 }, { status: 201 }), 'not whole'],
    ];
    for (const [answer, why] of cases) {
      const { url } = server(by, answer);
      const on = ground(by, url);
      const { message, isFinal } = await failure(enrol(on.bootstrap, 'asbt_one-time', on.tls));
      expect(message).toContain(why);
      expect(isFinal).toBe(true);
      expect(existsSync(join(on.tls, 'key.pem'))).toBe(false);
    }
  });

  test('[C16] tells its token to no server but the one of its trust domain, under its pinned root', async () => {
    const [by, another] = [root(), root()];
    const answer = ({ csr_pem }: Told) => given(signed(by, csr_pem), by.pem);
    const servers = [
      server(another, answer),
      server(by, answer, 'spiffe://elsewhere.local/server'),
      server(by, answer, idOf(newId())),
    ];
    for (const { url, heard } of servers) {
      const on = ground(by, url);
      const { message, isFinal } = await failure(enrol(on.bootstrap, 'asbt_one-time', on.tls));
      expect(message).toContain('cannot be asked');
      expect([isFinal, heard.length]).toEqual([false, 0]);
      expect(readFileSync(on.bootstrap.tokenFile, 'utf8')).toContain('asbt_one-time');
    }
  });

  test('[C16] a token that others may read is not used; a refused one is not shown again', async () => {
    const by = root();
    const refuse = () => Response.json({ detail: 'that token was used' }, { status: 409 });
    const { url, heard } = server(by, refuse);
    const on = ground(by, url);
    chmodSync(on.bootstrap.tokenFile, 0o644);
    expect(() => tokenIn(on.bootstrap)).toThrow('chmod 600');
    chmodSync(on.bootstrap.tokenFile, 0o600);
    const me = identity({
      options: { dir: on.tls, bootstrap: on.bootstrap },
      log: () => {},
      running: () => 0,
      changeOver: () => {},
    });
    for (let i = 0; i < 3; i++) expect(await me.ready()).toContain('that token was used');
    expect(heard.length).toBe(1);
    expect(me.hasNewToken()).toBe(false);
    writeFileSync(on.bootstrap.tokenFile, 'asbt_another\n');
    expect(me.hasNewToken()).toBe(true);
    await me.ready();
    expect([heard.length, me.hasNewToken()]).toEqual([2, false]);
  });
});

test('[C20] a new token is a new beginning, and one that is of no use takes nothing away', async () => {
  const by = root();
  let refuses = false;
  const { url, heard } = server(by, ({ csr_pem }) =>
    refuses
      ? Response.json({ detail: 'that token is unknown' }, { status: 401 })
      : given(signed(by, csr_pem), by.pem),
  );
  const on = ground(by, url);
  const bootstrap = { ...on.bootstrap, isMounted: true };
  const me = identity({
    options: { dir: on.tls, bootstrap },
    log: () => {},
    running: () => 0,
    changeOver: () => {},
  });
  chmodSync(on.bootstrap.tokenFile, 0o644);
  expect(await me.ready()).toBeNull();
  const first = held(on.tls)?.cert;
  // It lies there still, and is not shown twice.
  expect([await me.ready(), heard.length, held(on.tls)?.cert]).toEqual([null, 1, first]);
  writeFileSync(on.bootstrap.tokenFile, 'asbt_another\n');
  expect(await me.ready()).toBeNull();
  const second = held(on.tls)?.cert;
  expect([heard.length, second !== first]).toEqual([2, true]);
  refuses = true;
  writeFileSync(on.bootstrap.tokenFile, 'asbt_wrong\n');
  for (let i = 0; i < 2; i++) expect(await me.ready()).toBeNull();
  expect([heard.length, held(on.tls)?.cert]).toEqual([3, second]);
});

test('[G36] a token ends the waiting once, also when nobody could be asked', async () => {
  const by = root();
  const on = ground(by, 'https://127.0.0.1:1/api/v1/enrol');
  const options = { dir: on.tls, bootstrap: on.bootstrap };
  const me = identity({ options, log: () => {}, running: () => 0, changeOver: () => {} });
  expect(me.hasNewToken()).toBe(true);
  expect(await me.ready()).toContain('cannot be asked');
  expect(me.hasNewToken()).toBe(false);
  writeFileSync(on.bootstrap.tokenFile, 'asbt_next\n');
  expect(me.hasNewToken()).toBe(true);
  chmodSync(on.bootstrap.tokenFile, 0o644);
  expect(me.hasNewToken()).toBe(false);
});

describe('the files of an agent', () => {
  const pairOf = (by: Root) => {
    const { key, csr } = newRequest(spiffeId);
    return { key, cert: signed(by, csr), ca: by.pem };
  };

  test('[C17] wherever a change breaks off, key and certificate belong together', () => {
    const by = root();
    const [before, after] = [pairOf(by), pairOf(by)];
    const whole = (place: string) => {
      const now = held(place);
      if (now)
        expect(new X509Certificate(now.cert).publicKey.export({ type: 'spki', format: 'pem' })).toBeTruthy();
      return now?.cert;
    };
    for (const done of ['nothing', 'written', 'ca', 'key', 'cert'] as const) {
      const place = dir(`files-${done}`);
      keep(place, before);
      if (done !== 'nothing') {
        for (const name of ['ca', 'key', 'cert'] as const)
          writeFileSync(join(place, `${name}.pem.new`), after[name]);
        for (const name of ['ca', 'key', 'cert'] as const) {
          if (done === 'written') break;
          renameSync(join(place, `${name}.pem.new`), join(place, `${name}.pem`));
          if (name === done) break;
        }
      }
      const isNew = done === 'key' || done === 'cert';
      expect(whole(place), done).toBe(isNew ? after.cert : before.cert);
      expect(held(place)?.key, done).toBe(isNew ? after.key : before.key);
    }
  });

  test('[C12] the next certificate is asked for at half of the life, and at most a tenth later', () => {
    const since = 1_000_000;
    const times = Array.from(
      { length: 200 },
      (_, i) => renewAt({ cert: `${i}`, since, until: since + 1_000 }) - since,
    );
    expect(Math.min(...times)).toBeGreaterThanOrEqual(500);
    expect(Math.max(...times)).toBeLessThanOrEqual(600);
    expect(Math.max(...times) - Math.min(...times)).toBeGreaterThan(50);
  });

  test('a server is known by the name of the trust domain, at whatever address', () => {
    const place = dir('names');
    keep(place, pairOf(root()));
    const env = { AGENT_BOOTSTRAP_TLS_DIR: place, MANAGEMENT_SERVER: '127.0.0.1:8123' };
    const options = readOptions(['--env-file', '/dev/null'], env);
    expect(options?.target.tls && tlsMaterial(options.target.tls).serverName).toBe(`server.${DOMAIN}`);
    expect(options?.identity).toEqual({ dir: place, bootstrap: null });
    const named = readOptions(['--env-file', '/dev/null', '--tls-server-name', 'box.lan'], env);
    expect(named?.target.tls && tlsMaterial(named.target.tls).serverName).toBe('box.lan');
  });
});

test('the transport is the socket where there is one, then certificates, then plain TCP', () => {
  const of = (env: Record<string, string>, ...args: string[]) => {
    const { target, identity: own } = readOptions(['--env-file', '/dev/null', ...args], env) ?? {};
    return [target?.address.split(':')[0], target?.tls !== null, own !== null];
  };
  const all = {
    AGENT_GRPC_UDS_PATH: '/run/a.sock',
    AGENT_BOOTSTRAP_TLS_DIR: '/tls',
    MANAGEMENT_SERVER: 'h:1',
  };
  expect(of(all)).toEqual(['unix', false, false]);
  expect(of(all, '--transport', 'tls')).toEqual(['h', true, true]);
  expect(of({ ...all, AGENT_GRPC_UDS_PATH: '' })).toEqual(['h', true, true]);
  expect(of({ MANAGEMENT_SERVER: 'h:1' })).toEqual(['h', false, false]);
  const flags = ['--tls-ca', 'a', '--tls-cert', 'b', '--tls-key', 'c'];
  expect(of({ MANAGEMENT_SERVER: 'h:1' }, ...flags)).toEqual(['h', true, false]);
  expect(() => of({ AGENT_BOOTSTRAP_URL: 'https://h' })).toThrow('AGENT_BOOTSTRAP_TOKEN_FILE is missing');
  const bootstrap = {
    AGENT_BOOTSTRAP_TOKEN_FILE: '/t',
    AGENT_BOOTSTRAP_CA: '/c',
    AGENT_BOOTSTRAP_URL: 'https://h',
    AGENT_BOOTSTRAP_SPIFFE_ID: spiffeId,
  };
  expect(() => of({ ...bootstrap, AGENT_BOOTSTRAP_URL: 'http://h' })).toThrow('https://');
  expect(() => of({ ...bootstrap, AGENT_BOOTSTRAP_SPIFFE_ID: 'web' })).toThrow('spiffe://');
});
