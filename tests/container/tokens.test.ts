/** When an agent in a container is given a token, by a clock that is moved and a ledger that is told. */
import { afterEach, expect, test } from 'bun:test';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Handle } from '../../src/runtime.ts';
import { handClock } from '../identity/ground.ts';
import { docker, type Ground, inside, never, openGround, running } from './ground.ts';

let ground: Ground;
afterEach(() => ground?.close(), 60_000);

const LOOK_MS = 60_000;

function world() {
  const held = { certificate: false, token: false };
  const granted: string[] = [];
  const clock = handClock();
  const told = { isRevoked: false };
  let asked = Promise.withResolvers<void>();
  const identities = {
    isWanted: true,
    enrolUrl: 'https://server.sandbox.local/api/v1/enrol',
    // The ids of this ground are none that the agent client would take.
    spiffeId: () => 'spiffe://sandbox.local/instance/01920000-0000-7000-8000-000000000001',
    caPem: () => 'roots\n',
    held: () => {
      asked.resolve();
      return { ...held };
    },
    grant: () => {
      granted.push(`asbt_${granted.length + 1}`);
      held.token = true;
      return granted.at(-1) ?? '';
    },
    isRevoked: async () => told.isRevoked,
  };
  ground = openGround({ identities, clock });
  return {
    held,
    granted,
    told,
    async look() {
      asked = Promise.withResolvers();
      // The one before may not have set its timer yet.
      await new Promise((resolve) => setImmediate(resolve));
      clock.move(LOOK_MS);
      await asked.promise;
    },
  };
}

const place = (...more: string[]) => join(ground.dataDir, 'instances', 'web-1', ...more);
const token = () => readFileSync(place('credentials', 'token'), 'utf8').trim();

/** Until a look that found something to do has done it. */
async function until(look: () => boolean): Promise<void> {
  for (const end = Date.now() + 20_000; !look(); await Bun.sleep(10))
    if (Date.now() > end) throw new Error('it never came');
}
const readToken = () => {
  try {
    return token();
  } catch {
    return null;
  }
};

test('[C22] a token is there from the start, is replaced when it is of no more use, and not while a certificate is good', async () => {
  const { held, granted, look } = world();
  const handle: Handle = await running(ground, 'web-1');
  expect([token(), statSync(place('credentials', 'token')).mode & 0o777]).toEqual(['asbt_1', 0o444]);
  expect((await inside(handle, 'cat /opt/agentic/credentials/token')).output).toBe('asbt_1');
  expect((await inside(handle, 'touch /opt/agentic/credentials/token')).code).not.toBe(0);
  await look();
  expect(granted).toEqual(['asbt_1']);
  held.token = false;
  await look();
  await until(() => readToken() === 'asbt_2');
  // As the agent does: it has a certificate and the token was used.
  Object.assign(held, { certificate: true, token: false });
  writeFileSync(place('identity', 'cert.pem'), 'a certificate');
  await ground.runtime.stop(handle, 0);
  await ground.runtime.start(handle, never());
  expect([granted.length, readToken()]).toEqual([2, null]);
}, 120_000);

test('[C22] nothing is granted for an agent that was revoked until it is started again, and for none that does not run', async () => {
  const { held, granted, told, look } = world();
  const handle = await running(ground, 'web-1');
  Object.assign(held, { certificate: false, token: false });
  told.isRevoked = true;
  await look();
  await ground.again().recover(handle);
  expect(granted.length).toBe(1);
  told.isRevoked = false;
  await docker.getContainer(String(handle['container'])).kill();
  await look();
  await ground.runtime.stop(handle, 0);
  expect(granted.length).toBe(1);
  await ground.runtime.start(handle, never());
  expect([granted.length, token()]).toEqual([2, 'asbt_2']);
}, 120_000);
