/** Tokens, certificates and revocation, by the register alone; a clock that a test moves. */

import { Database } from 'bun:sqlite';
import { afterEach, describe, expect, test } from 'bun:test';
import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Audited, CertificateAuthority, SigningWanted } from '../../src/certificates.ts';
import { Failure } from '../../src/failure.ts';
import { openLedger } from '../../src/identity/ledger.ts';
import { localAuthority } from '../../src/identity/local-authority.ts';
import { register } from '../../src/identity/register.ts';
import { newId } from '../../src/ids.ts';
import {
  audit,
  cleaning,
  DOMAIN,
  forged,
  handClock,
  idOf,
  pair,
  refusal,
  request,
  root,
  shown,
} from './ground.ts';

const { dir, add, clean } = cleaning();
afterEach(clean);

const TOKEN_MS = 600_000;
const TTL_MS = 86_400_000;

async function house(kind: CertificateAuthority['kind'] = 'local') {
  const place = dir('register');
  const clock = handClock();
  const kept = audit();
  const { events } = kept;
  let audited = kept.audited;
  const local = await localAuthority({ dir: join(place, 'ca'), trustDomain: DOMAIN, clock });
  const bundle = await local.trustBundle();
  const living = new Map<string, string>();
  /** What happens while somebody signs. */
  let signing: (wanted: SigningWanted) => Promise<void> | void = () => {};
  const authority: CertificateAuthority = {
    ...local,
    kind,
    async issue(wanted) {
      await signing(wanted);
      return await local.issue(wanted);
    },
  };
  const path = join(place, 'identity.db');
  const open = () => {
    const ledger = openLedger(path);
    const world = { trustDomain: DOMAIN, authority, ledger, bundle: () => bundle, clock, audited };
    const instanceNamed = (id: string) => living.get(id) ?? null;
    const made = register({ ...world, instanceNamed, agentTtlMs: TTL_MS, tokenTtlMs: TOKEN_MS });
    return { ...made, close: () => ledger.close() };
  };
  let now = open();
  add(() => now.close());
  const instance = (name = 'box') => {
    const id = newId<string>();
    living.set(id, name);
    return id;
  };
  return {
    path,
    clock,
    events,
    instance,
    living,
    get register() {
      return now;
    },
    /** What is noted goes there from now on. */
    auditing(by: Partial<Audited>) {
      audited = { ...kept.audited, ...by };
      now.close();
      now = open();
    },
    while(act: typeof signing) {
      signing = act;
    },
    /** As after a crash: nothing was closed, and the file is opened anew. */
    restart() {
      now = open();
    },
    async enrolled(id: string) {
      const { token, spiffeId } = now.grant(id, 'olga');
      const made = request(spiffeId);
      const given = await now.enrol({ token, spiffeId, csr: made.csr }, '10.0.0.1');
      return { ...given, made, shown: shown(given.certificatePem) };
    },
  };
}

describe('a one-time token', () => {
  test('[C5] gives one certificate to the id that it is for, and then nothing more', async () => {
    const on = await house();
    const id = on.instance();
    const { token, spiffeId, expiresAt } = on.register.grant(id, 'olga');
    expect(spiffeId).toBe(idOf(id));
    expect(expiresAt).toBe(on.clock.now() + TOKEN_MS);
    expect(token).toMatch(/^asbt_[\w-]{43}$/);
    const { csr } = request(spiffeId);
    const given = await on.register.enrol({ token, spiffeId, csr }, '10.0.0.1');
    expect(on.register.standing(shown(given.certificatePem))).toEqual({ instanceId: id });
    const again = { token, spiffeId, csr: request(spiffeId).csr };
    expect((await refusal(on.register.enrol(again, '10.0.0.2'))).code).toBe('token-consumed');
    // The same request once more, as somebody who listened would send it.
    expect((await refusal(on.register.enrol({ token, spiffeId, csr }, '10.0.0.2'))).code).toBe(
      'token-consumed',
    );
  });

  test('[C5] is of no use under another id, when it is unknown, and once its minutes are over', async () => {
    const on = await house();
    const [mine, other] = [on.instance('box'), on.instance('other')];
    const { token } = on.register.grant(mine, 'olga');
    const ask = (token: string, spiffeId: string, of = spiffeId) =>
      refusal(on.register.enrol({ token, spiffeId, csr: request(of).csr }, 'x'));
    expect((await ask(token, idOf(other))).code).toBe('forbidden');
    expect((await ask(token, idOf(mine), idOf(other))).code).toBe('unprocessable');
    expect((await ask(`${token.slice(0, -1)}${token.endsWith('A') ? 'B' : 'A'}`, idOf(mine))).code).toBe(
      'unauthenticated',
    );
    expect((await ask('', idOf(mine))).code).toBe('unauthenticated');
    expect((await ask(token, 'spiffe://elsewhere.local/instance/x')).code).toBe('forbidden');
    on.clock.move(TOKEN_MS);
    expect(await ask(token, idOf(mine))).toMatchObject({
      code: 'unauthenticated',
      message: expect.stringContaining('expired'),
    });
  });

  test('[C5] of two that come at once exactly one wins, whatever the order', async () => {
    const on = await house();
    for (let round = 0; round < 10; round++) {
      const { token, spiffeId } = on.register.grant(on.instance(), 'olga');
      on.while(async () => await Bun.sleep(0));
      const came = await Promise.allSettled(
        Array.from({ length: 4 }, () =>
          on.register.enrol({ token, spiffeId, csr: request(spiffeId).csr }, 'x'),
        ),
      );
      expect(came.filter(({ status }) => status === 'fulfilled').length).toBe(1);
      const codes = came.flatMap((one) => (one.status === 'rejected' ? [(one.reason as Failure).code] : []));
      expect(new Set(codes)).toEqual(new Set(['token-consumed']));
    }
  });

  test('[C5] is kept as a hash only, in a file of its owner', async () => {
    const on = await house();
    const { token } = on.register.grant(on.instance(), 'olga');
    expect(statSync(on.path).mode & 0o777).toBe(0o600);
    for (const path of [on.path, `${on.path}-wal`]) {
      const kept = readFileSync(path).toString('latin1');
      expect(kept.includes(token) || kept.includes(token.slice(5))).toBe(false);
    }
  });

  test('[C6] is on the disk as consumed before anything is signed, and stays so after a crash', async () => {
    const on = await house();
    const { token, spiffeId } = on.register.grant(on.instance(), 'olga');
    let consumedThen: unknown;
    on.while(() => {
      const db = new Database(on.path, { readonly: true });
      consumedThen = db.query('SELECT consumed_at AS at FROM token').get();
      db.close();
      throw new Error('the power failed');
    });
    const asked = { token, spiffeId, csr: request(spiffeId).csr };
    await expect(on.register.enrol(asked, 'x')).rejects.toThrow('the power failed');
    expect(consumedThen).toEqual({ at: on.clock.now() });
    on.while(() => {});
    on.restart();
    const { csr } = request(spiffeId);
    expect((await refusal(on.register.enrol({ token, spiffeId, csr }, 'x'))).code).toBe('token-consumed');
  });

  test('[C6] is good again when nobody could sign, unless it was withdrawn meanwhile', async () => {
    const on = await house();
    const id = on.instance();
    const { token, spiffeId } = on.register.grant(id, 'olga');
    const asked = () => ({ token, spiffeId, csr: request(spiffeId).csr });
    on.while(() => {
      throw new Failure('authority-away', 'gone fishing');
    });
    expect((await refusal(on.register.enrol(asked(), 'x'))).code).toBe('authority-away');
    on.while(() => {});
    await on.register.enrol(asked(), 'x');
    const second = on.register.grant(id, 'olga');
    on.while(() => {
      on.register.revoke(id, { by: 'olga', reason: 'lost' });
      throw new Failure('authority-away', 'gone fishing');
    });
    await refusal(on.register.enrol({ ...asked(), token: second.token }, 'x'));
    on.while(() => {});
    const late = refusal(on.register.enrol({ ...asked(), token: second.token }, 'x'));
    expect((await late).code).toBe('token-consumed');
  });
});

describe('a key', () => {
  test('[C5] that has a certificate already does not enrol again: a request that was copied is of no use', async () => {
    const on = await house();
    const [id, other] = [on.instance(), on.instance('other')];
    const { made } = await on.enrolled(id);
    const again = on.register.grant(id, 'olga');
    const copied = refusal(on.register.enrol({ ...again, csr: made.csr }, 'x'));
    expect(await copied).toMatchObject({
      code: 'unprocessable',
      message: expect.stringContaining('already'),
    });
    const theirs = on.register.grant(other, 'olga');
    const stolen = request(idOf(other), made);
    const foreign = await refusal(on.register.enrol({ ...theirs, csr: stolen.csr }, 'x'));
    expect(foreign.message).toContain("another instance's");
  });
});

describe('a renewal', () => {
  test('[C11] is for the id that was proved, under a new key or the same', async () => {
    const on = await house();
    const [id, other] = [on.instance(), on.instance('other')];
    const { shown: mine, made } = await on.enrolled(id);
    const next = await on.register.renew(mine, request(idOf(id)).csr);
    expect(shown(next.certificatePem)).toMatchObject({ spiffeId: idOf(id) });
    expect(shown(next.certificatePem).serial).not.toBe(mine.serial);
    await on.register.renew(mine, request(idOf(id), made).csr);
    const greedy = refusal(on.register.renew(mine, request(idOf(other)).csr));
    expect((await greedy).code).toBe('forbidden');
    const foreign = refusal(on.register.renew(mine, request(idOf(id, 'elsewhere.local')).csr));
    expect((await foreign).code).toBe('forbidden');
  });

  test('[C11] is refused once the certificate has expired, its instance is gone, or it asks too often', async () => {
    const on = await house();
    const id = on.instance();
    const { shown: mine } = await on.enrolled(id);
    const ask = () => on.register.renew(mine, request(idOf(id)).csr);
    for (let i = 0; i < 59; i++) await ask();
    expect((await refusal(ask())).code).toBe('over-quota');
    on.clock.move(61_000);
    await ask();
    on.living.delete(id);
    expect((await refusal(ask())).code).toBe('forbidden');
    on.living.set(id, 'box');
    on.clock.move(TTL_MS);
    expect(await refusal(ask())).toMatchObject({
      code: 'unauthenticated',
      message: expect.stringContaining('expired'),
    });
  });
});

describe('a certificate', () => {
  test('[C10] of another trust domain, for no instance, or for one that is gone, stands for nobody', async () => {
    const on = await house();
    const id = on.instance();
    const by = root();
    const stand = (spiffeId: string) => refusal(() => on.register.standing(shown(forged(by, spiffeId).cert)));
    expect(await stand(idOf(id, 'elsewhere.local'))).toMatchObject({
      code: 'unauthenticated',
      message: expect.stringContaining('trust domain elsewhere.local'),
    });
    expect((await stand(`spiffe://${DOMAIN}/server`)).code).toBe('unauthenticated');
    const { shown: gone } = await on.enrolled(id);
    on.living.delete(id);
    expect((await refusal(() => on.register.standing(gone))).code).toBe('forbidden');
  });

  test('[C14] that was revoked stands for nobody and renews nothing, also after a restart', async () => {
    const on = await house();
    const [id, other] = [on.instance(), on.instance('other')];
    const { shown: mine, made } = await on.enrolled(id);
    const { shown: theirs } = await on.enrolled(other);
    const waiting = on.register.grant(id, 'olga');
    on.clock.move(1);
    const why = { by: 'olga', reason: 'stolen' };
    expect(on.register.revoke(id, why)).toEqual({ at: on.clock.now(), certificates: 1, tokens: 1 });
    for (const turn of ['at once', 'after a restart']) {
      if (turn === 'after a restart') on.restart();
      const stands = await refusal(() => on.register.standing(mine));
      expect([stands.code, stands.message]).toEqual([
        'unauthenticated',
        expect.stringContaining('was revoked'),
      ]);
      expect((await refusal(on.register.renew(mine, request(idOf(id)).csr))).code).toBe('unauthenticated');
      const late = on.register.enrol({ ...waiting, csr: request(idOf(id)).csr }, 'x');
      expect((await refusal(late)).code).toBe('token-consumed');
      expect(on.register.standing(theirs)).toEqual({ instanceId: other });
    }
    // A new token begins anew, but not with the key that was revoked.
    const fresh = on.register.grant(id, 'olga');
    const reused = refusal(on.register.enrol({ ...fresh, csr: request(idOf(id), made).csr }, 'x'));
    expect((await reused).message).toContain('was revoked');
    const { shown: next } = await on.enrolled(id);
    expect(on.register.standing(next)).toEqual({ instanceId: id });
    expect((await refusal(() => on.register.standing(mine))).code).toBe('unauthenticated');
  });

  test('[C14] that was revoked is not good again for a server that lost its ledger', async () => {
    const on = await house();
    const id = on.instance();
    const { shown: mine } = await on.enrolled(id);
    on.register.revoke(id, { by: 'olga', reason: 'stolen' });
    for (const end of ['', '-wal', '-shm']) rmSync(`${on.path}${end}`, { force: true });
    on.restart();
    const { code, message } = await refusal(() => on.register.standing(mine));
    expect([code, message]).toEqual(['unauthenticated', expect.stringContaining('enrol anew')]);
    expect((await refusal(on.register.renew(mine, request(idOf(id)).csr))).code).toBe('unauthenticated');
    const { shown: next } = await on.enrolled(id);
    expect(on.register.standing(next)).toEqual({ instanceId: id });
  });

  test('[C14] of an authority elsewhere that we do not know is judged by its date; one that is signed while it is revoked is not given out', async () => {
    const on = await house('command');
    const id = on.instance();
    const { cert } = forged(root(), idOf(id));
    expect(on.register.standing(shown(cert))).toEqual({ instanceId: id });
    const { shown: mine } = await on.enrolled(id);
    on.while(() => void on.register.revoke(id, { by: 'olga', reason: 'just now' }));
    expect((await refusal(on.register.renew(mine, request(idOf(id)).csr))).code).toBe('unauthenticated');
    const { token, spiffeId } = on.register.grant(id, 'olga');
    on.while(() => void on.register.revoke(id, { by: 'olga', reason: 'just now' }));
    const enrolling = on.register.enrol({ token, spiffeId, csr: request(spiffeId).csr }, 'x');
    expect((await refusal(enrolling)).code).toBe('forbidden');
    expect((await refusal(() => on.register.standing(shown(cert)))).code).toBe('unauthenticated');
  });
});

test('[C8] every attempt is audited with who asked and what became of it, and holds no token and no key', async () => {
  const on = await house();
  const id = on.instance();
  const { shown: mine, made } = await on.enrolled(id);
  const { token, spiffeId } = on.register.grant(id, 'olga');
  await refusal(on.register.enrol({ token: 'asbt_guess', spiffeId, csr: made.csr }, '10.0.0.9'));
  await refusal(on.register.enrol({ token, spiffeId, csr: 'nonsense' }, '10.0.0.9'));
  await on.register.renew(mine, request(spiffeId).csr);
  await refusal(on.register.renew(mine, request(idOf(newId())).csr));
  on.while(() => {
    throw new Failure('authority-away', 'gone fishing');
  });
  await refusal(on.register.enrol({ token, spiffeId, csr: request(spiffeId).csr }, '10.0.0.9'));
  on.register.revoke(id, { by: 'olga', reason: 'the end' });
  expect(on.events.map(({ what, outcome, actor }) => [what, outcome, actor])).toEqual([
    ['token.granted', 'success', 'olga'],
    ['certificate.issued', 'success', '10.0.0.1'],
    ['token.granted', 'success', 'olga'],
    ['certificate.refused', 'denied', '10.0.0.9'],
    ['certificate.refused', 'denied', '10.0.0.9'],
    ['certificate.renewed', 'success', spiffeId],
    ['certificate.refused', 'denied', spiffeId],
    ['certificate.refused', 'failure', '10.0.0.9'],
    ['identity.revoked', 'success', 'olga'],
  ]);
  const text = JSON.stringify(on.events);
  expect(text).toContain(mine.serial);
  expect(/asbt_[\w-]{20}|PRIVATE|BEGIN/.test(text)).toBe(false);
});

test('[C8, O4] while nothing can be noted nothing is signed, no token is used up, and nothing is given out', async () => {
  const on = await house();
  const { shown: mine } = await on.enrolled(on.instance());
  const { token, spiffeId } = on.register.grant(on.instance('other'), 'olga');
  const away = async () => {
    throw new Failure('audit-away', 'the disk is full');
  };
  let signed = 0;
  on.while(() => void signed++);
  on.auditing({ ready: away });
  const asked = { token, spiffeId, csr: request(spiffeId).csr };
  expect((await refusal(on.register.enrol(asked, 'x'))).code).toBe('audit-away');
  expect((await refusal(on.register.renew(mine, request(mine.spiffeId).csr))).code).toBe('audit-away');
  expect(signed).toBe(0);
  on.auditing({ note: away });
  expect((await refusal(on.register.renew(mine, request(mine.spiffeId).csr))).code).toBe('audit-away');
  expect(on.events.at(-1)).toMatchObject({ what: 'certificate.refused', outcome: 'failure' });
  on.auditing({});
  expect((await on.register.enrol(asked, 'x')).spiffeId).toBe(spiffeId);
});

test('a ledger that is not ours, and one of a newer server, are refused and left as they are', async () => {
  const place = dir('foreign');
  const path = join(place, 'identity.db');
  writeFileSync(path, 'this is a diary\n'.repeat(100), { mode: 0o600 });
  expect((await refusal(() => openLedger(path))).message).toContain('no register of certificates');
  expect(readFileSync(path, 'utf8')).toStartWith('this is a diary');
  const newer = join(place, 'newer.db');
  openLedger(newer).close();
  const db = new Database(newer);
  db.run('PRAGMA user_version = 99');
  db.close();
  expect((await refusal(() => openLedger(newer))).message).toContain('newer server');
  expect(pair().key).toContain('PRIVATE');
});
