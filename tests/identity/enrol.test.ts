/** The door for one-time tokens, over real sockets. */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { closeDoors, linked, on, openDoors, SERVER_NAME, uuidOf } from './doors.ts';
import { request, root, shown } from './ground.ts';

setDefaultTimeout(30_000);
beforeEach(() => openDoors());
afterEach(closeDoors);

describe('the door for one-time tokens', () => {
  const ask = (body: unknown, { path = '/api/v1/enrol', method = 'POST' } = {}) =>
    fetch(`https://localhost:${on.enrol.port}${path}`, {
      method,
      ...(method === 'GET' ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      tls: { ca: on.ca },
    } as RequestInit);
  const problem = async (response: Response) => {
    expect(response.headers.get('content-type')).toContain('application/problem+json');
    const { code } = (await response.json()) as { code: string };
    return [response.status, code];
  };
  const wanted = (name = 'web-1') => {
    const { token, spiffeId } = on.identity.register.grant(uuidOf(name), 'olga');
    const { csr, key } = request(spiffeId);
    return { key, body: { token, spiffe_id: spiffeId, csr_pem: csr } };
  };

  test('[C7] answers with a certificate that opens the TLS port', async () => {
    const { key, body } = wanted();
    const response = await ask(body);
    expect(response.status).toBe(201);
    const given = (await response.json()) as Record<
      'spiffe_id' | 'certificate_pem' | 'ca_pem' | 'not_after',
      string
    >;
    expect(given.spiffe_id).toBe(body.spiffe_id);
    expect(Date.parse(given.not_after)).toBe(shown(given.certificate_pem).until);
    await linked({ ca: given.ca_pem, cert: given.certificate_pem, key, serverName: SERVER_NAME });
  });

  test('[C7] says by a stable code why not', async () => {
    const { body } = wanted();
    const other = wanted('web-2').body;
    expect(await problem(await ask({ ...body, token: 'asbt_guess' }))).toEqual([401, 'unauthenticated']);
    expect(await problem(await ask({ ...body, spiffe_id: other.spiffe_id }))).toEqual([403, 'forbidden']);
    expect(await problem(await ask({ ...body, csr_pem: other.csr_pem }))).toEqual([422, 'unprocessable']);
    expect(await problem(await ask({ ...body, csr_pem: 'nonsense' }))).toEqual([422, 'unprocessable']);
    expect(await problem(await ask({ ...body, extra: 1 }))).toEqual([400, 'bad-input']);
    expect(await problem(await ask({ token: body.token }))).toEqual([400, 'bad-input']);
    expect(await problem(await ask('{'))).toEqual([400, 'bad-input']);
    expect(await problem(await ask({ ...body, csr_pem: 'x'.repeat(20_000) }))).toEqual([413, 'too-large']);
    expect(await problem(await ask(body, { path: '/api/v1/instances' }))).toEqual([404, 'not-found']);
    expect(await problem(await ask(body, { method: 'GET' }))).toEqual([405, 'method-not-allowed']);
    expect((await ask(body)).status).toBe(201);
    expect(await problem(await ask(body))).toEqual([409, 'token-consumed']);
  });

  test('[C7] of two that come with one token at once exactly one gets a certificate', async () => {
    const { body } = wanted();
    const asks = Array.from({ length: 6 }, () => ask({ ...body, csr_pem: request(body.spiffe_id).csr }));
    const codes = (await Promise.all(asks)).map(({ status: code }) => code).sort();
    expect(codes).toEqual([201, 409, 409, 409, 409, 409]);
  });

  test('[C7] slows down whoever guesses', async () => {
    await openDoors({ rate: { perSecond: 0.01, burst: 3 } });
    const { body } = wanted();
    for (let i = 0; i < 3; i++) expect((await ask({ ...body, token: 'asbt_guess' })).status).toBe(401);
    const slowed = await ask(body);
    expect(slowed.headers.get('retry-after')).not.toBeNull();
    expect(await problem(slowed)).toEqual([429, 'over-quota']);
  });

  test('[C7] a client that does not trust our root, and one that speaks no TLS, get nothing', async () => {
    const { body } = wanted();
    const url = `localhost:${on.enrol.port}/api/v1/enrol`;
    const send = { method: 'POST', body: JSON.stringify(body) };
    await expect(
      fetch(`https://${url}`, { ...send, tls: { ca: root().pem } } as RequestInit),
    ).rejects.toThrow();
    await expect(fetch(`http://${url}`, send)).rejects.toThrow();
    expect((await ask(body)).status).toBe(201);
  });
});
