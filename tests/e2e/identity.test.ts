/**
 * An agent elsewhere, as real processes: it enrols with a one-time token, works over mTLS, renews by itself,
 * survives a restart of the server and a change of the server's certificate, and is cut off for good.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { X509Certificate } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { AuditPage } from '../../src/audit.ts';
import type { AgentView, BootstrapView, InstanceView, RevokedView, SessionView } from '../../src/views.ts';
import { type House, openHouse, until } from './house.ts';

setDefaultTimeout(180_000);

/** Long enough for a machine that has much else to do: what has expired would need a new token. */
const LIFE_SECONDS = 40;

let house: House;
beforeAll(async () => {
  house = await openHouse('identity', {
    AGENTIC_FIRST_INSTANCE: '',
    AGENTIC_AGENT_CERT_SECONDS: String(LIFE_SECONDS),
  });
});
afterAll(() => house?.close());

interface Remote {
  readonly place: string;
  readonly token: string;
  readonly spiffeId: string;
  readonly files: (name: 'cert' | 'key' | 'ca') => string;
  start(): Bun.Subprocess;
  log(): string;
}

const running: Bun.Subprocess[] = [];
afterAll(() => {
  for (const one of running) one.kill('SIGKILL');
});

/** An instance of ours whose agent we start ourselves, with nothing but what an operator would hand over. */
async function remote(name: string, env: Readonly<Record<string, string>> = {}): Promise<Remote> {
  const { instance_id } = await house.post<InstanceView>('instances', {
    name,
    runtime: 'host',
    start: false,
  });
  const given = await house.post<BootstrapView>(`instances/${name}/bootstrap`);
  const place = join(house.dir, `remote-${name}`);
  mkdirSync(join(place, 'home'), { recursive: true });
  writeFileSync(join(place, 'token'), `${given.token}\n`, { mode: 0o600 });
  writeFileSync(join(place, 'pinned.pem'), given.ca_pem);
  const whole = {
    PATH: process.env['PATH'] ?? '',
    HOME: join(place, 'home'),
    AGENT_ID: name,
    AGENT_INSTANCE_ID: instance_id,
    MANAGEMENT_SERVER: given.grpc_tls ?? '',
    AGENT_BOOTSTRAP_TOKEN_FILE: join(place, 'token'),
    AGENT_BOOTSTRAP_URL: given.enrol_url,
    AGENT_BOOTSTRAP_CA: join(place, 'pinned.pem'),
    AGENT_BOOTSTRAP_SPIFFE_ID: given.spiffe_id,
    AGENT_BOOTSTRAP_TLS_DIR: join(place, 'tls'),
    AGENT_SPOOL_DIR: join(place, 'spool'),
    AGENT_SETUP_COMPLETE: '1',
    ...env,
  };
  const logs = join(place, 'log');
  return {
    place,
    token: given.token,
    spiffeId: given.spiffe_id,
    files: (file) => join(place, 'tls', `${file}.pem`),
    log: () => (existsSync(logs) ? readFileSync(logs, 'utf8') : ''),
    start() {
      const child = Bun.spawn([join(house.dir, 'agent-client')], {
        env: whole,
        stdin: 'ignore',
        stdout: Bun.file(logs),
        stderr: Bun.file(logs),
      });
      running.push(child);
      return child;
    },
  };
}

const logOf = (name: string) => {
  const path = join(house.dir, `remote-${name}`, 'log');
  return existsSync(path) ? readFileSync(path, 'utf8') : '';
};

const connected = (name: string, what = 'connected', is = true) =>
  until(
    `agent ${name} ${what}`,
    async () => {
      const found = await house.get<AgentView>(`agents/${name}`).catch(() => null);
      const isThere = found !== null && ['ready', 'busy', 'provisioning'].includes(found.state);
      return isThere === is;
    },
    { seen: () => `${house.log().slice(-4_000)}\n${logOf(name).slice(-4_000)}` },
  );

/** What the audit log has of an identity, newest first. */
const audited = async (method: string, name: string): Promise<AuditPage['records']> => {
  const { instance_id } = await house.get<InstanceView>(`instances/${name}`);
  const { records } = await house.get<AuditPage>('audit?limit=500');
  const ofIt = (spiffeId = '') => spiffeId.endsWith(`/${instance_id}`);
  return records.filter((one) => one.method === method && ofIt(one.params['spiffe_id']));
};

const serialOf = (path: string) => new X509Certificate(readFileSync(path)).serialNumber;

describe('an agent that enrols', () => {
  test('[C16] ends with a certificate for its own key, private to it, and without the token', async () => {
    const agent = await remote('web-1');
    agent.start();
    await connected('web-1');
    const leaf = new X509Certificate(readFileSync(agent.files('cert')));
    expect(leaf.subjectAltName).toBe(`URI:${agent.spiffeId}`);
    for (const file of ['cert', 'key', 'ca'] as const)
      expect(statSync(agent.files(file)).mode & 0o777).toBe(0o600);
    expect(statSync(join(agent.place, 'tls')).mode & 0o777).toBe(0o700);
    expect(existsSync(join(agent.place, 'token'))).toBe(false);
    expect(agent.log() + house.log()).not.toContain(agent.token);
    const [issued] = await audited('certificate.issued', 'web-1');
    expect(issued).toMatchObject({ door: 'identity', outcome: 'done', from: '127.0.0.1' });
    expect(issued?.params['serial']).toBe(leaf.serialNumber);
    // It is seen at the agent, also in the list; what is elsewhere proved itself by the same.
    const { agents } = await house.get<{ agents: AgentView[] }>('agents');
    for (const { proof } of [...agents, await house.get<AgentView>('agents/web-1')])
      expect(proof).toEqual({
        kind: 'certificate',
        serial: leaf.serialNumber,
        not_after: new Date(leaf.validTo).toISOString(),
      });
  });

  test('[C12] renews under a new key while a session runs, which goes on without losing a byte', async () => {
    const agent = { files: (file: string) => join(house.dir, 'remote-web-1', 'tls', `${file}.pem`) };
    const command = 'i=0; while [ $i -lt 700 ]; do echo line-$i; i=$((i+1)); sleep 0.05; done';
    const started = await house.post<SessionView>('agents/web-1/sessions', {
      command: 'sh',
      args: ['-c', command],
      session_type: 'headless',
    });
    const { session_id: id } = started;
    const [cert, key] = [serialOf(agent.files('cert')), readFileSync(agent.files('key'), 'utf8')];
    // The server says so first, and then the agent has it.
    await until('a renewal', () => serialOf(agent.files('cert')) !== cert, { seen: () => logOf('web-1') });
    expect((await audited('certificate.renewed', 'web-1')).length).toBeGreaterThan(0);
    expect(readFileSync(agent.files('key'), 'utf8')).not.toBe(key);
    await until('a change over', () => house.log().split('"agent connected"').length > 2);
    const ended = await until('the end', async () => {
      const now = await house.get<SessionView>(`sessions/${id}`);
      return now.state === 'exited' ? now : null;
    });
    expect(ended.exit_code).toBe(0);
    const { bytes } = await house.bytes(`sessions/${id}/output`);
    const wanted = Array.from({ length: 700 }, (_, i) => `line-${i}\n`).join('');
    expect(Buffer.from(bytes).toString()).toBe(wanted);
  });

  test('[C16] comes back with its certificate after the server was killed, and needs no token', async () => {
    await house.kill9();
    await house.start();
    await connected('web-1');
  });

  test('[C14] is cut off for good when it is revoked, also after a restart of the server', async () => {
    const revoked = await house.post<RevokedView>('instances/web-1/revoke', { reason: 'stolen laptop' });
    expect(revoked.certificates).toBeGreaterThan(0);
    expect(revoked.connections).toBeGreaterThan(0);
    await connected('web-1', 'gone', false);
    const log = () => readFileSync(join(house.dir, 'remote-web-1', 'log'), 'utf8');
    await until('the agent to hear why', () => /revoked/.test(log()));
    await house.kill9();
    await house.start();
    const heard = log().length;
    await until('the agent to try again', () => /revoked/.test(log().slice(heard)));
    const [noted] = await audited('identity.revoked', 'web-1');
    expect(noted?.params).toMatchObject({ reason: 'stolen laptop' });
    expect((await house.get<AgentView>('agents/web-1')).state).toMatch(/disconnected|awaited/);
  });

  test('[C16, G36] says why not when its token was used by another, and takes a new one without a restart', async () => {
    const agent = await remote('web-2');
    const thief = await remote('web-3');
    writeFileSync(join(thief.place, 'token'), `${agent.token}\n`, { mode: 0o600 });
    const stolen = thief.start();
    await until('the refusal', () => /that token is not for/.test(thief.log()));
    stolen.kill('SIGKILL');
    agent.start();
    await connected('web-2');
    const late = await remote('web-4');
    writeFileSync(join(late.place, 'token'), `${agent.token}\n`, { mode: 0o600 });
    late.start();
    await until('the refusal', () => /used or withdrawn already/.test(late.log()));
    writeFileSync(join(late.place, 'token'), `${late.token}\n`, { mode: 0o600 });
    await connected('web-4');
  });

  test('[C16] trusts no server that proves another root, and keeps its token for the true one', async () => {
    const agent = await remote('web-5');
    const other = await openHouse('identity-other', { AGENTIC_FIRST_INSTANCE: '' });
    try {
      const { ca_pem } = await other.get<{ ca_pem: string }>('identity');
      writeFileSync(join(agent.place, 'pinned.pem'), ca_pem);
      agent.start();
      await until('the refusal', () => /cannot be asked for a certificate/.test(agent.log()));
      expect(readFileSync(join(agent.place, 'token'), 'utf8').trim()).toBe(agent.token);
      expect(existsSync(agent.files('cert'))).toBe(false);
    } finally {
      await other.close();
    }
  });

  test('[C14] is cut off when its instance is destroyed', async () => {
    await connected('web-2');
    await fetch(`${house.url()}/api/v1/instances/web-2`, { method: 'DELETE' });
    await until(
      'the end of the identity',
      async () => (await audited('identity.revoked', 'web-2')).length > 0,
    );
    const log = () => readFileSync(join(house.dir, 'remote-web-2', 'log'), 'utf8');
    await until('the agent to hear why', () => /revoked|no instance/.test(log()));
    rmSync(join(house.dir, 'remote-web-2'), { recursive: true, force: true });
  });
});
