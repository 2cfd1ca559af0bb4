/**
 * A token, a cookie and a task's secret go in by every door of a real server, in the right place and in wrong
 * ones; then everything that it wrote is searched for them.
 */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { Metadata } from '@grpc/grpc-js';
import { ExecRequestSchema } from '../../proto/gen/agent_pb.ts';
import { agentService } from '../../proto/service.ts';
import { client } from '../http/socket.ts';
import { raw } from '../http/world.ts';
import { clientOf } from '../transport/caller.ts';
import { type House, openHouse, until } from './house.ts';

const secret = 'marked-secret-4f1d77aa';
let house: House;
beforeAll(async () => {
  house = await openHouse('redaction', { SECRET_MARKED: secret, LOG_LEVEL: 'debug' });
}, 120_000);
afterAll(() => house.close(), 30_000);

/** Every file below a directory that a server wrote. */
function filesIn(dir: string): string[] {
  return readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((one) => one.isFile())
    .map((one) => join(one.parentPath, one.name));
}

async function exec(token: string, agentId: string): Promise<number> {
  const { path, requestSerialize, responseDeserialize } = agentService.exec;
  const caller = clientOf(`127.0.0.1:${house.port}`);
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${token}`);
  const asked = create(ExecRequestSchema, { agentId, command: 'true' });
  const call = caller.makeServerStreamRequest(path, requestSerialize, responseDeserialize, asked, metadata);
  call.on('data', () => {});
  call.on('error', () => {}); // It comes as a status too.
  const { code } = await new Promise<{ code: number }>((resolve) => call.on('status', resolve));
  caller.close();
  return code;
}

const errors: string[] = [];
async function ask(path: string, init: RequestInit = {}) {
  const response = await fetch(`${house.url()}${path}`, { redirect: 'manual', ...init });
  const text = await response.text();
  if (!response.ok) errors.push(text);
  return { response, text };
}

const bearer = (one: string) => ({ authorization: `Bearer ${one}` });

const post = (token: string, path: string, body: unknown) =>
  ask(path, {
    method: 'POST',
    headers: { ...bearer(token), 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });

const signIn = (token: string) =>
  ask('/sign-in', {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded', origin: house.url() },
    body: new URLSearchParams({ token }).toString(),
  });

/** In the right place, and in wrong ones. */
async function everywhere(one: string, token: string): Promise<void> {
  await ask('/api/v1/whoami', { headers: bearer(one) });
  await ask(`/api/v1/whoami?access_token=${one}`, { headers: bearer(token) });
  await ask(`/api/v1/agents/${one}`, { headers: bearer(token) });
  await ask(`/api/v1/tokens/${one}`, { method: 'DELETE', headers: bearer(token) });
  await ask(`/${one}`, { headers: bearer(token) });
  await ask('/api/v1/whoami', { headers: { cookie: `agentic-${house.port + 2}=${one}` } });
  await post(token, '/api/v1/instances', { name: one, runtime: 'host' });
  await signIn(one);
  await exec(one, 'local');
  await exec(token, one);
  await raw(
    house.port + 1,
    `GET /ws/sessions/${one}/attach?access_token=${one} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`,
  );
}

/** Which of the marks are in what the server wrote, and where. */
function found(marks: readonly string[]): string[] {
  const places = filesIn(house.dataDir).filter((path) => statSync(path).size < 64 << 20);
  expect(places.some((path) => path.includes('/audit/'))).toBe(true);
  expect(places.some((path) => path.endsWith('journal.db'))).toBe(true);
  return places.flatMap((path) => {
    const bytes = readFileSync(path);
    return marks.filter((mark) => bytes.includes(mark)).map((mark) => `${path}: ${mark}`);
  });
}

test('[O16] what was shown at the doors stands nowhere that the server wrote', async () => {
  const { token } = await house.post<{ token: string }>('tokens', { name: 'ada', role: 'admin' });
  const wrong = `asb_${'Q'.repeat(43)}`;

  for (const one of [token, wrong]) await everywhere(one, token);
  const signed = await signIn(token);
  const cookie = (signed.response.headers.get('set-cookie') ?? '').split(';')[0] ?? '';
  const [, session = ''] = cookie.split('=');
  expect(session).toHaveLength(43);
  await ask('/api/v1/agents', { headers: { cookie } });

  // A task with a secret, which its program has; and a terminal that is controlled.
  const submitted = await post(token, '/api/v1/tasks', {
    manifest: {
      version: '1',
      kind: 'Task',
      metadata: { name: 'A secret' },
      agent: {
        tool: 'command',
        mode: 'headless',
        command: 'sh',
        args: ['-c', 'test -n "$SECRET_MARKED" && echo has-it'],
      },
      secrets: [{ name: 'SECRET_MARKED', source: 'env' }],
    },
  });
  const { task_id } = JSON.parse(submitted.text) as { task_id: string };
  await until('the task is done', async () => {
    const { text } = await ask(`/api/v1/tasks/${task_id}`, { headers: bearer(token) });
    return (JSON.parse(text) as { state: string }).state === 'COMPLETED';
  });
  const opened = await post(token, '/api/v1/agents/local/sessions', {
    command: 'sh',
    args: ['-c', 'read -r x'],
    cols: 80,
    rows: 24,
  });
  const { session_id } = JSON.parse(opened.text) as { session_id: string };
  const typing = client(
    `ws://127.0.0.1:${house.port + 1}/ws/sessions/${session_id}/orchestrate?role=controller`,
    {
      protocols: [`bearer.${token}`],
    },
  );
  await typing.told('session_start');
  typing.socket.close();

  await house.kill9();
  const marks = [token, wrong, session, secret];
  expect(found(marks)).toEqual([]);
  for (const mark of marks) {
    expect([mark, house.log().includes(mark)]).toEqual([mark, false]);
    expect([mark, errors.filter((text) => text.includes(mark))]).toEqual([mark, []]);
  }
  expect(errors.length).toBeGreaterThan(10);
  await house.start();
}, 120_000);
