/** The server's certificate and roots, by themselves; over sockets in tls.test.ts. */
import { afterEach, expect, test } from 'bun:test';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import type { CertificateAuthority } from '../../src/certificates.ts';
import { Failure } from '../../src/failure.ts';
import { localAuthority } from '../../src/identity/local-authority.ts';
import { type Material, serverCertificate } from '../../src/identity/server-certificate.ts';
import { silentLog } from '../../src/log.ts';
import { audit, cleaning, DOMAIN, handClock, refusal, root, shown } from './ground.ts';

const { dir, add, clean } = cleaning();
afterEach(clean);

const TTL_MS = 7 * 86_400_000;

async function ground() {
  const place = dir('server');
  const clock = handClock();
  const { audited } = audit();
  const local = await localAuthority({ dir: join(place, 'ca'), trustDomain: DOMAIN, clock });
  const options = { dir: join(place, 'tls'), trustDomain: DOMAIN, names: ['box.lan'], ttlMs: TTL_MS };
  const open = async (authority: CertificateAuthority) => {
    const made = await serverCertificate({ ...options, authority, clock, log: silentLog, audited });
    add(() => made.close());
    return made;
  };
  const away = async (): Promise<never> => {
    throw new Failure('authority-away', 'gone fishing');
  };
  const gone: CertificateAuthority = { ...local, issue: away, trustBundle: away };
  return { place, clock, local, gone, open };
}

test('[C13] is kept across restarts in files of its owner, also while nobody can sign', async () => {
  const on = await ground();
  expect((await refusal(on.open(on.gone))).code).toBe('authority-away');
  const first = (await on.open(on.local)).current();
  for (const name of ['server-cert.pem', 'server-key.pem'])
    expect(statSync(join(on.place, 'tls', name)).mode & 0o777).toBe(0o600);
  expect((await on.open(on.local)).current()).toEqual(first);
  expect((await on.open(on.gone)).current()).toEqual(first);
});

test('[C13] is made anew once two thirds of its life are over, and again after an authority was away', async () => {
  const on = await ground();
  let authority: CertificateAuthority = on.local;
  const changing: CertificateAuthority = {
    ...on.local,
    issue: (wanted) => authority.issue(wanted),
    trustBundle: () => authority.trustBundle(),
  };
  const server = await on.open(changing);
  const changes: Material[] = [];
  server.watch((material) => changes.push(material));
  const first = server.current();
  on.clock.move(TTL_MS / 2);
  await server.look();
  expect(changes).toEqual([]);
  authority = on.gone;
  on.clock.move(TTL_MS / 4);
  await server.look();
  expect(server.current()).toEqual(first);
  authority = on.local;
  on.clock.move(3_600_000);
  await server.look();
  expect(changes).toEqual([server.current()]);
  expect(shown(server.current().cert).until).toBe(Math.floor((on.clock.now() + TTL_MS) / 1_000) * 1_000);
});

test('[C13] new roots are taken beside the old, under the certificate that is shown', async () => {
  const on = await ground();
  const another = root().pem;
  let bundle = await on.local.trustBundle();
  const server = await on.open({ ...on.local, trustBundle: async () => bundle });
  const changes: Material[] = [];
  server.watch((material) => changes.push(material));
  const { cert } = server.current();
  bundle += another;
  on.clock.move(3_600_000);
  await server.look();
  expect(changes).toEqual([{ ...server.current(), cert, ca: bundle }]);
});
