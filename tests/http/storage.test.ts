/** The files of Agentshare by HTTP. What hostile trees do to them is in tests/share/hostile.test.ts. */
import { afterEach, beforeEach, expect, test } from 'bun:test';
import {
  chmodSync,
  chownSync,
  linkSync,
  mkdirSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import type { StorageEntryView } from '../../src/views.ts';
import { type House, house, LOCAL_ID, problemOf, tokens, until } from './world.ts';

const INBOX = '/api/v1/storage/instances/local/inbox';
const OUTBOX = '/api/v1/storage/instances/local/outbox';
const GLOBAL = '/api/v1/storage/global';

let on: House;
beforeEach(async () => {
  on = await house({ env: { AGENTSHARE_UPLOAD_MAX_MB: '2', AGENTSHARE_QUOTA_MB: '4' } });
});
afterEach(() => on.remove());

const put = (
  path: string,
  body: string | Uint8Array | ReadableStream,
  headers: Record<string, string> = {},
) => fetch(`${on.url}${path}`, { method: 'PUT', body: body as string, headers });
const del = (path: string) => fetch(`${on.url}${path}`, { method: 'DELETE' });
const place = () => on.share.layout.place(LOCAL_ID);
const entries = async (path: string): Promise<readonly StorageEntryView[]> =>
  ((await (await on.get(path)).json()) as { entries: StorageEntryView[] }).entries;
const codeOf = async (answer: Response) => `${answer.status} ${(await problemOf(answer)).code}`;

test('[F12] a file is written, listed, read and removed, and so are directories', async () => {
  const written = await put(`${INBOX}?path=notes/a.txt&parents=true`, 'hello');
  expect(written.status).toBe(201);
  expect(await written.json()).toEqual({ path: 'notes/a.txt', size_bytes: 5 });
  expect(await (await on.post(`${INBOX}/_mkdir?path=notes/more`)).json()).toEqual({
    path: 'notes/more',
    made: true,
  });
  const listed = await on.get(`${INBOX}?path=notes`);
  expect(await listed.json()).toMatchObject({
    root: 'instances/local/inbox',
    path: 'notes',
    next: null,
    entries: [
      {
        name: 'a.txt',
        path: 'notes/a.txt',
        kind: 'file',
        size_bytes: 5,
        mode: '0644',
        links: 1,
        target: null,
      },
      { name: 'more', path: 'notes/more', kind: 'dir', mode: '0755' },
    ],
  });
  expect(await (await on.get(`${INBOX}/_download?path=notes/a.txt`)).text()).toBe('hello');
  expect(await codeOf(await del(`${INBOX}?path=notes`))).toBe('409 wrong-state');
  expect(await (await del(`${INBOX}?path=notes&recursive=true`)).json()).toEqual({
    path: 'notes',
    removed: 3,
  });
  expect(await codeOf(await del(`${INBOX}?path=notes`))).toBe('404 not-found');
}, 30_000);

test('[F12] the same areas are there under the names that they have elsewhere', async () => {
  await on.post('/api/v1/storage/inbox/local?path=x', 'by the other name');
  expect(await (await on.get(`${INBOX}/_download?path=x`)).text()).toBe('by the other name');
  mkdirSync(join(on.share.layout.tasks, 'task-1', 'outbox'), { recursive: true });
  writeFileSync(join(on.share.layout.tasks, 'task-1', 'outbox', 'result'), '42');
  for (const path of ['/api/v1/storage/outbox/task-1', '/api/v1/storage/tasks/task-1/outbox']) {
    expect(await (await on.get(`${path}/_download?path=result`)).text()).toBe('42');
    expect((await put(`${path}?path=x`, 'x')).status).toBe(405);
  }
  expect(await codeOf(await on.get('/api/v1/storage/tasks/task-2/outbox'))).toBe('404 not-found');
  expect(await codeOf(await on.get('/api/v1/storage/tasks/..%2F..%2Fx/outbox'))).toBe('400 bad-input');
  expect(await codeOf(await on.get('/api/v1/storage/instances/nobody/inbox'))).toBe('404 not-found');
}, 30_000);

test('[F4] no path leads out, however it is written', async () => {
  writeFileSync(join(on.dir, 'agentshare', 'secret'), 'no');
  const paths = ['../secret', '..%2F..%2Fsecret', '/etc/passwd', '%2Fetc%2Fpasswd', 'x%00y', 'a//b', '.'];
  for (const path of paths) {
    expect(await codeOf(await on.get(`${INBOX}?path=${path}`))).toBe('400 bad-input');
    expect(await codeOf(await on.get(`${INBOX}/_download?path=${path}`))).toBe('400 bad-input');
    expect(await codeOf(await put(`${INBOX}?path=${path}`, 'x'))).toBe('400 bad-input');
    expect(await codeOf(await on.post(`${INBOX}/_mkdir?path=${path}`))).toBe('400 bad-input');
    expect(await codeOf(await del(`${INBOX}?path=${path}`))).toBe('400 bad-input');
  }
  for (const path of ['%252e%252e%252fsecret', '%25FF%252F..%252Fx', '%25zz']) {
    expect(await codeOf(await on.get(`${INBOX}/_download?raw_path=${path}`))).toBe('400 bad-input');
  }
  expect(await codeOf(await on.get(`${INBOX}?path=a&raw_path=b`))).toBe('400 bad-input');
}, 30_000);

test('[F5] what an instance links to is shown and not followed', async () => {
  symlinkSync('/etc', join(place().outbox, 'etc'));
  symlinkSync('/etc/passwd', join(place().outbox, 'passwd'));
  linkSync(place().facts, join(place().outbox, 'hard'));
  expect((await entries(OUTBOX)).map(({ name, kind, target }) => [name, kind, target])).toEqual([
    ['etc', 'link', '/etc'],
    ['hard', 'file', null],
    ['passwd', 'link', '/etc/passwd'],
  ]);
  for (const path of ['etc/passwd', 'passwd']) {
    expect(await codeOf(await on.get(`${OUTBOX}/_download?path=${path}`))).toBe('404 not-found');
  }
  expect(await codeOf(await on.get(`${OUTBOX}/_download?path=hard`))).toBe('409 wrong-state');
}, 30_000);

test('[F8] a name that is not UTF-8 is read by the path that the list gives', async () => {
  const name = Buffer.concat([Buffer.from(`${place().outbox}/a`), Buffer.from([0xff])]);
  writeFileSync(name, 'bytes');
  const [entry] = await entries(OUTBOX);
  expect(entry).toMatchObject({ name: 'a\ufffd', raw_path: 'a%FF' });
  const at = `${OUTBOX}/_download?raw_path=${encodeURIComponent(entry?.raw_path ?? '')}`;
  expect(await (await on.get(at)).text()).toBe('bytes');
}, 30_000);

test('[F9] a directory is given in pages', async () => {
  for (let i = 0; i < 25; i++) writeFileSync(join(place().outbox, `f${String(i).padStart(2, '0')}`), '');
  const names: string[] = [];
  for (let after = ''; ; ) {
    const at = `${OUTBOX}?limit=10${after && `&after=${encodeURIComponent(after)}`}`;
    const page = (await (await on.get(at)).json()) as { entries: StorageEntryView[]; next: string | null };
    expect(page.entries.length).toBeLessThanOrEqual(10);
    names.push(...page.entries.map(({ name }) => name));
    if (page.next === null) break;
    after = page.next;
  }
  expect(names).toEqual(readdirSync(place().outbox).sort());
  expect((await on.get(`${OUTBOX}?limit=1001`)).status).toBe(400);
}, 30_000);

test('[F14] a file is a download that no browser takes for a page, also in ranges', async () => {
  await put(`${INBOX}?path=page.html`, '<script>alert(1)</script>');
  const whole = await on.get(`${INBOX}/_download?path=page.html`);
  const { headers } = whole;
  expect(headers.get('content-type')).toBe('application/octet-stream');
  expect(headers.get('content-disposition')).toStartWith('attachment; filename="page.html"');
  expect(headers.get('x-content-type-options')).toBe('nosniff');
  expect(headers.get('content-security-policy')).toContain('sandbox');
  const etag = headers.get('etag') ?? '';
  const asked = async (range: string, more: Record<string, string> = {}) => {
    const answer = await on.get(`${INBOX}/_download?path=page.html`, { headers: { range, ...more } });
    return [answer.status, answer.headers.get('content-range'), await answer.text()];
  };
  expect(await asked('bytes=0-6')).toEqual([206, 'bytes 0-6/25', '<script']);
  expect(await asked('bytes=-9')).toEqual([206, 'bytes 16-24/25', '</script>']);
  expect(await asked('bytes=16-')).toEqual([206, 'bytes 16-24/25', '</script>']);
  expect(await asked('bytes=20-999')).toEqual([206, 'bytes 20-24/25', 'ript>']);
  expect((await asked('bytes=0-0,5-6'))[0]).toBe(200);
  expect((await asked('bytes=0-6', { 'if-range': '"other"' }))[0]).toBe(200);
  expect((await asked('bytes=0-6', { 'if-range': etag }))[0]).toBe(206);
  const beyond = await on.get(`${INBOX}/_download?path=page.html`, { headers: { range: 'bytes=25-' } });
  expect(beyond.headers.get('content-range')).toBe('bytes */25');
  expect(await codeOf(beyond)).toBe('416 range-not-satisfiable');
  const again = await on.get(`${INBOX}/_download?path=page.html`, { headers: { 'if-none-match': etag } });
  expect(again.status).toBe(304);
}, 30_000);

test('[F11] what is larger than a file may be is refused, announced or not, and leaves nothing', async () => {
  const large = Buffer.alloc(2 * 1024 * 1024 + 1);
  expect(await codeOf(await put(`${INBOX}?path=x`, large))).toBe('413 too-large');
  const unannounced = new ReadableStream({
    pull(controller) {
      controller.enqueue(Buffer.alloc(256 * 1024));
    },
  });
  expect(await codeOf(await put(`${INBOX}?path=x`, unannounced))).toBe('413 too-large');
  const most = await put(`${INBOX}?path=x`, large.subarray(1));
  expect(await most.json()).toEqual({ path: 'x', size_bytes: 2 * 1024 * 1024 });
  expect(readdirSync(place().staging)).toEqual([]);
  expect((await entries(INBOX)).map(({ name }) => name)).toEqual(['x']);
}, 30_000);

test('[F11] a caller that leaves in the middle leaves nothing', async () => {
  const { port } = new URL(on.url);
  const socket = connect(Number(port), '127.0.0.1');
  socket.write(`PUT ${INBOX}?path=half HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\nhalf`);
  await until('the upload to begin', () => readdirSync(place().staging).length === 1);
  socket.destroy();
  await until('the upload to be forgotten', () => readdirSync(place().staging).length === 0);
  expect(await entries(INBOX)).toEqual([]);
}, 30_000);

/** A sender that says so much and then nothing. */
function sendsHalf(at: House, name: string) {
  const socket = connect(Number(new URL(at.url).port), '127.0.0.1');
  socket.write(`PUT ${INBOX}?path=${name} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\nhalf`);
  return socket;
}
const stagedAt = (at: House): number => readdirSync(at.share.layout.place(LOCAL_ID).staging).length;

test('[F11] no more than sixteen send at once, and one more is told to wait', async () => {
  const sockets = Array.from({ length: 16 }, (_, i) => sendsHalf(on, `${i}`));
  try {
    await until('all to be at it', () => stagedAt(on) === 16);
    const refused = await put(`${INBOX}?path=late`, 'x');
    expect(refused.headers.get('retry-after')).not.toBeNull();
    expect(await codeOf(refused)).toBe('503 busy');
  } finally {
    for (const socket of sockets) socket.destroy();
  }
  await until('all to be forgotten', () => stagedAt(on) === 0);
  expect((await put(`${INBOX}?path=late`, 'x')).status).toBe(201);
}, 30_000);

test('[F11] a sender that goes silent is not waited for', async () => {
  const fast = await house({ speed: 400 });
  const socket = sendsHalf(fast, 'half');
  try {
    const said = await new Promise<string>((resolve) => {
      socket.once('data', (bytes) => resolve(bytes.toString('latin1')));
    });
    expect(said).toStartWith('HTTP/1.1 504');
    await until('it to be forgotten', () => stagedAt(fast) === 0);
    expect(readdirSync(fast.share.layout.place(LOCAL_ID).inbox)).toEqual([]);
  } finally {
    socket.destroy();
    await fast.remove();
  }
}, 30_000);

test('[F11] If-None-Match: * writes only what is new', async () => {
  const once = () => put(`${INBOX}?path=x`, 'first', { 'if-none-match': '*' });
  expect((await once()).status).toBe(201);
  expect(await codeOf(await once())).toBe('409 already-exists');
}, 30_000);

test('[F15] an upload that would be too much is refused while the limit is only measured', async () => {
  const part = Buffer.alloc(2 * 1024 * 1024, 1);
  await (await on.get(`${INBOX}/_usage`)).json();
  expect((await put(`${INBOX}?path=a`, part)).status).toBe(201);
  const refused = await put(`${OUTBOX}?path=b`, part);
  expect(refused.headers.get('retry-after')).not.toBeNull();
  expect(await codeOf(refused)).toBe('429 over-quota');
  writeFileSync(join(place().outbox, 'own'), Buffer.alloc(3 * 1024 * 1024, 1));
  const use = (await (await on.get(`${INBOX}/_usage`)).json()) as Record<string, unknown>;
  expect(use).toMatchObject({
    limit_bytes: 4 * 1024 * 1024,
    enforced_by: 'routes',
    high: true,
    at_least: false,
  });
  expect(use['used_bytes'] as number).toBeGreaterThanOrEqual(5 * 1024 * 1024);
  expect(await codeOf(await put(`${INBOX}?path=c`, 'x'))).toBe('429 over-quota');
  rmSync(join(place().outbox, 'own'));
  await on.get(`${INBOX}/_usage`);
  expect((await put(`${INBOX}?path=c`, 'x')).status).toBe(201);
}, 30_000);

test('[F2] what is put into the inbox of an instance with a user of its own is that user’s to work with', async () => {
  const { inbox } = place();
  const isRoot = process.getuid?.() === 0;
  if (isRoot) chownSync(inbox, 10_001, 10_001);
  await put(`${INBOX}?path=a/plain&parents=true`, 'x');
  const owner = isRoot ? 10_001 : (process.getuid?.() ?? 0);
  for (const name of ['a', 'a/plain']) expect(statSync(join(inbox, name)).uid).toBe(owner);
  // Where we may not give it away, anybody may write below a base that nobody else can enter.
  chmodSync(inbox, 0o777);
  await put(`${INBOX}?path=b/plain&parents=true`, 'x');
  expect(statSync(join(inbox, 'b')).mode & 0o777).toBe(0o777);
  expect(statSync(join(inbox, 'b', 'plain')).mode & 0o777).toBe(0o666);
});

test('[F12] viewers look, operators write, and only an admin removes from global', async () => {
  const held = await tokens(on.access);
  const as = (role: keyof typeof held, method: string, path: string) =>
    fetch(`${on.url}${path}`, {
      method,
      headers: { authorization: `Bearer ${held[role]}` },
      ...(method === 'PUT' ? { body: 'x' } : {}),
    }).then(async (answer) => {
      await answer.arrayBuffer();
      return answer.status;
    });
  expect(await as('operator', 'PUT', `${GLOBAL}?path=tools/x`)).toBe(201);
  expect(await as('operator', 'PUT', `${INBOX}?path=x`)).toBe(201);
  for (const path of [`${GLOBAL}?path=tools`, `${GLOBAL}/_download?path=tools/x`, `${INBOX}/_usage`]) {
    expect(await as('viewer', 'GET', path)).toBe(200);
  }
  for (const path of [`${GLOBAL}?path=y`, `${INBOX}?path=y`]) {
    expect(await as('viewer', 'PUT', path)).toBe(403);
    expect(await as('viewer', 'DELETE', path)).toBe(403);
  }
  expect(await as('operator', 'DELETE', `${GLOBAL}?path=tools/x`)).toBe(403);
  expect(await as('admin', 'DELETE', `${GLOBAL}?path=tools/x`)).toBe(200);
  expect(await as('operator', 'DELETE', `${INBOX}?path=x`)).toBe(200);
}, 30_000);

test('[F1] what an instance left is listed, read by its id, and removed by an admin alone', async () => {
  const gone = '01920000-0000-7000-8000-0000000000ff';
  await on.share.prepare({ instanceId: gone, name: 'old-one', owner: null, isSameUser: false });
  writeFileSync(join(on.share.layout.place(gone).outbox, 'result'), '42');
  const kept = (await (await on.get('/api/v1/storage/kept')).json()) as { kept: object[] };
  expect(kept.kept).toMatchObject([{ instance_id: gone, name: 'old-one' }]);
  expect(await (await on.get(`/api/v1/storage/instances/${gone}/outbox/_download?path=result`)).text()).toBe(
    '42',
  );
  expect(await codeOf(await del(`/api/v1/storage/kept/${LOCAL_ID}`))).toBe('409 wrong-state');
  expect(await codeOf(await del('/api/v1/storage/kept/..%2F..'))).toBe('404 not-found');
  expect((await del(`/api/v1/storage/kept/${gone}`)).status).toBe(200);
  expect(((await (await on.get('/api/v1/storage/kept')).json()) as { kept: object[] }).kept).toEqual([]);
}, 30_000);
