/** Tasks and sessions by HTTP: what is sent in which form, what is taken home, and what is done only once. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { type House, house, problemOf, raw } from './world.ts';

let on: House;
beforeAll(async () => {
  on = await house();
  on.desks.sessions.add('s1');
});
afterAll(() => on.remove());

const yaml = 'kind: Task\nmetadata:\n  name: demo\n';

describe('a manifest', () => {
  const submit = (body: string, type: string) => on.post('/api/v1/tasks', body, { 'content-type': type });

  test('[W26] is taken as YAML, as JSON, and as JSON that holds one of them', async () => {
    const { submitted } = on.desks.tasks;
    const forms: [string, string, string | object][] = [
      ['application/yaml', yaml, yaml],
      ['text/yaml; charset=utf-8', yaml, yaml],
      ['application/x-yaml', yaml, yaml],
      ['text/x-yaml', yaml, yaml],
      ['text/plain', yaml, yaml],
      ['application/json', '{"kind":"Task"}', { kind: 'Task' }],
      ['application/json', JSON.stringify({ manifest_yaml: yaml }), yaml],
      ['application/json', JSON.stringify({ manifest: { kind: 'Task' } }), { kind: 'Task' }],
      ['application/json', JSON.stringify({ manifest: yaml }), yaml],
      ['application/vnd.task+json', '{"kind":"Task"}', { kind: 'Task' }],
    ];
    for (const [type, body, wanted] of forms) {
      const response = await submit(body, type);
      expect([type, response.status]).toEqual([type, 202]);
      const { task_id, accepted, task } = (await response.json()) as {
        task_id: string;
        accepted: boolean;
        task: { id: string };
      };
      expect([accepted, task.id]).toEqual([true, task_id]);
      expect(submitted.at(-1)).toEqual(wanted);
    }
  });

  test('[W26] that is not valid is told field by field; nothing is taken for one by accident', async () => {
    const faulty = await problemOf(await submit('nonsense: true', 'application/yaml'));
    expect(faulty).toMatchObject({ status: 422, faults: [{ path: 'lifecycle.timeout' }] });
    const cases: [string, string, number][] = [
      ['', 'application/yaml', 400],
      ['  \n', 'application/json', 400],
      ['{"kind":', 'application/json', 400],
      ['[]', 'application/json', 422],
      ['"text"', 'application/json', 422],
      [yaml, 'application/x-www-form-urlencoded', 415],
    ];
    const before = on.desks.tasks.submitted.length;
    for (const [body, type, status] of cases) {
      expect([body, (await problemOf(await submit(body, type))).status]).toEqual([body, status]);
    }
    expect(on.desks.tasks.submitted.length).toBe(before);
  });

  test('[W26] submitted twice with one Idempotency-Key is one task', async () => {
    const send = () =>
      on.post('/api/v1/tasks', yaml, { 'content-type': 'text/yaml', 'idempotency-key': 'k1' });
    const ids = await Promise.all(
      [send(), send(), send()].map(async (one) => (await (await one).json()) as object),
    );
    expect(new Set(ids.map((one) => (one as { task_id: string }).task_id)).size).toBe(1);
  });
});

describe('tasks', () => {
  test('[W27] are listed by state and label, in pages, and steered', async () => {
    const { tasks } = on.desks;
    tasks.add({ id: 'a', state: 'RUNNING', labels: { team: 'x', 'a=b': '1' } });
    tasks.add({ id: 'b', state: 'FAILED', labels: { team: 'x=y' } });
    tasks.add({ id: 'c', state: 'RUNNING', labels: { team: 'x', tier: '1' } });
    const list = async (query: string) => {
      const { tasks: found, total_count } = (await (await on.get(`/api/v1/tasks?${query}`)).json()) as {
        tasks: { id: string }[];
        total_count: number;
      };
      return [found.map(({ id }) => id).join(), total_count];
    };
    expect(await list('state=running')).toEqual(['a,c', 2]);
    expect(await list('state=RUNNING,%20failed')).toEqual(['a,b,c', 3]);
    expect(await list('label=team=x')).toEqual(['a,c', 2]);
    expect(await list('label=team=x%3Dy')).toEqual(['b', 1]);
    expect(await list('label=team=x&label=tier=1')).toEqual(['c', 1]);
    expect(await list('state=running&limit=1&offset=1')).toEqual(['c', 2]);
    expect((await problemOf(await on.get('/api/v1/tasks?state=gone'))).detail).toContain('PENDING');
    expect((await problemOf(await on.get('/api/v1/tasks?label=team'))).status).toBe(400);
    const cancelled = await on.get('/api/v1/tasks/a', { method: 'DELETE' });
    expect(await cancelled.json()).toMatchObject({ success: true, task: { id: 'a', state: 'CANCELLED' } });
    await on.post('/api/v1/tasks/c/cancel', { reason: 'enough' });
    expect(on.calls).toContain('cancel c "enough" by local');
    expect((await on.post('/api/v1/tasks/b/retry')).status).toBe(202);
    const typo = await problemOf(await on.post('/api/v1/tasks/b/cancel', { raeson: 'x' }));
    expect(typo.faults?.[0]?.path).toBe('raeson');
  });
});

describe('an artifact', () => {
  beforeAll(() => {
    const { tasks } = on.desks;
    tasks.add({ id: 't' });
    tasks.artifactsByName.set('report.html', { text: '<script>1</script>', type: 'text/html' });
    tasks.artifactsByName.set('a/b c.txt', { text: 'deep', type: 'text/plain' });
    tasks.artifactsByName.set('naïve "x"\\\'y.txt', { text: 'quoted', type: 'text/plain' });
    tasks.artifactsByName.set('100%25.txt', { text: 'percent', type: 'text/plain' });
    tasks.artifactsByName.set('empty', { text: '', type: 'text/plain' });
  });
  const get = (name: string, headers = {}) => on.get(`/api/v1/tasks/t/artifacts/${name}`, { headers });

  test('[W28] is handed out whole, by its own name, and never as a page of ours', async () => {
    const page = await get('report.html');
    expect(await page.text()).toBe('<script>1</script>');
    expect(page.headers.get('content-type')).toBe('text/html');
    expect(page.headers.get('content-length')).toBe('18');
    expect(page.headers.get('content-disposition')).toStartWith('attachment; filename="report.html"');
    expect(page.headers.get('content-security-policy')).toContain('sandbox');
    expect(page.headers.get('x-content-type-options')).toBe('nosniff');
    expect(await (await get('a/b%20c.txt')).text()).toBe('deep');
    expect(await (await get('a%2Fb%20c.txt')).text()).toBe('deep');
    expect(await (await get('empty')).text()).toBe('');
    expect(await (await get('100%2525.txt')).text()).toBe('percent');
    const quoted = await get(encodeURIComponent('naïve "x"\\\'y.txt'));
    const disposition = quoted.headers.get('content-disposition') ?? '';
    expect(disposition).toContain(`filename="na_ve _x__'y.txt"`);
    expect(disposition).toContain(`filename*=UTF-8''na%C3%AFve%20%22x%22%5C%27y.txt`);
    const head = await on.get('/api/v1/tasks/t/artifacts/report.html', { method: 'HEAD' });
    expect([head.headers.get('content-length'), await head.text()]).toEqual(['18', '']);
  });

  test('[W28] is not sent again to whoever has it', async () => {
    const etag = (await get('report.html')).headers.get('etag') as string;
    expect(etag).toMatch(/^"sha256:[0-9a-f]{64}"$/);
    for (const known of [etag, `W/${etag}`, `"other", ${etag}`, '*']) {
      const response = await get('report.html', { 'if-none-match': known });
      expect([known, response.status, await response.text()]).toEqual([known, 304, '']);
      expect(response.headers.get('etag')).toBe(etag);
    }
    expect((await get('report.html', { 'if-none-match': '"other"' })).status).toBe(200);
  });

  test('[W28] is looked for by its plain name only: no path leads elsewhere', async () => {
    const { asked } = on.desks.tasks;
    const tricks = [
      '../../../etc/passwd',
      '..%2f..%2fsecret',
      '%2e%2e/%2e%2e/secret',
      '%2e%2e%2fsecret',
      '/etc/passwd',
      '%2fetc%2fpasswd',
      'a%5c..%5c..%5csecret',
      'a\\..\\secret',
      'a/../report.html',
      'a%2f..%2freport.html',
      'a//report.html',
      './report.html',
      '%2e/report.html',
      'report.html%00.txt',
      '%252e%252e%252fsecret',
      '',
    ];
    for (const trick of tricks) {
      asked.length = 0;
      const path = `/api/v1/tasks/t/artifacts/${trick}`;
      const answer = await raw(on.doors.httpPort, `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`);
      const status = Number(answer.split(' ')[1]);
      // A listing or a page of ours is no file; what is resolved before it comes to us is as harmless.
      const isRefused = [400, 404].includes(status) || answer.includes('application/json') || status === 200;
      expect([trick, isRefused]).toEqual([trick, true]);
      for (const name of asked) expect(name).not.toMatch(/(^|\/)\.\.?(\/|$)|^\/|\0|\/\//);
    }
  });
});

describe('a session', () => {
  test('[W29] started twice with one Idempotency-Key is one; another body is refused', async () => {
    const start = (body: object, key = 'k', agent = 'local') =>
      on.post(`/api/v1/agents/${agent}/sessions`, body, { 'idempotency-key': key });
    const answers = await Promise.all([start({ command: 'top' }), start({ command: 'top' })]);
    const [first, second] = (await Promise.all(answers.map((one) => one.json()))) as { session_id: string }[];
    expect(answers.map(({ status }) => status)).toEqual([201, 201]);
    expect(first?.session_id).toBe(second?.session_id as string);
    expect((await problemOf(await start({ command: 'vim' }))).status).toBe(422);
    const other = (await (await start({ command: 'top' }, 'k2')).json()) as { session_id: string };
    expect(other.session_id).not.toBe(first?.session_id as string);
    expect((await problemOf(await start({}, 'x'.repeat(256)))).status).toBe(400);
    const calls = () => on.calls.filter((call) => call.includes('nowhere')).length;
    for (const wanted of [1, 2]) {
      expect((await start({ command: 'nowhere' }, 'failing')).status).toBe(502);
      expect(calls()).toBe(wanted);
    }
    on.clock.skip(86_400_001);
    const later = (await (await start({ command: 'top' })).json()) as { session_id: string };
    expect(later.session_id).not.toBe(first?.session_id as string);
  });

  test('[W29] is started with defaults, typed into, resized, signalled and ended by name', async () => {
    const made = await fetch(`${on.url}/api/v1/agents/local/sessions`, { method: 'POST' });
    expect(await made.json()).toMatchObject({
      command: 'bash',
      cols: 220,
      rows: 50,
      session_type: 'interactive',
    });
    const { typed } = on.desks.sessions;
    expect((await on.post('/api/v1/sessions/s1/input', { text: 'é' })).status).toBe(202);
    expect((await on.post('/api/v1/sessions/s1/input', { data_base64: 'AQ==' })).status).toBe(202);
    expect(typed.get('s1')).toBe('é\u0001');
    for (const body of [
      {},
      { text: 'a', data_base64: 'AQ==' },
      { data_base64: 'not base64!' },
      { text: 5 },
    ]) {
      expect((await problemOf(await on.post('/api/v1/sessions/s1/input', body))).status).toBe(400);
    }
    const large = { text: 'x'.repeat(65_537) };
    expect((await problemOf(await on.post('/api/v1/sessions/s1/input', large))).status).toBe(413);
    const resized = await on.post('/api/v1/sessions/s1/resize', { cols: 90, rows: 20 });
    expect(await resized.json()).toMatchObject({ cols: 90, rows: 20 });
    for (const size of [
      { cols: '90', rows: 20 },
      { cols: 0, rows: 20 },
      { cols: 90.5, rows: 20 },
      { cols: 90 },
    ]) {
      expect((await problemOf(await on.post('/api/v1/sessions/s1/resize', size))).status).toBe(400);
    }
    const signalled = await on.get('/api/v1/sessions/s1?signal=sigint', { method: 'DELETE' });
    expect(await signalled.json()).toEqual({ session_id: 's1', signal: 'INT', status: 'signaled' });
    const named = await on.get('/api/v1/agents/local/sessions/s1', { method: 'DELETE' });
    expect([named.status, await named.text()]).toEqual([204, '']);
    expect(on.calls).toContain('signal s1 KILL by local');
    expect((await on.get('/api/v1/agents/local/sessions/none', { method: 'DELETE' })).status).toBe(404);
    const live = (await (await on.get('/api/v1/sessions?live=true&agent=local')).json()) as { total: number };
    expect(live.total).toBeGreaterThan(0);
  });
});

describe('a question', () => {
  test('[W30] is asked, answered with exactly one of text and option, and withdrawn', async () => {
    const asked = await on.post('/api/v1/agents/local/hitl', { session_id: 's1', prompt: 'Which?' });
    expect(asked.status).toBe(201);
    const { hitl_id } = (await asked.json()) as { hitl_id: string };
    const respond = (body: object) => on.post(`/api/v1/hitl/${hitl_id}/respond`, body);
    for (const body of [{}, { text: 'a', option: 'b' }, { text: 'a', response: 'b' }, { text: null }]) {
      expect((await problemOf(await respond(body))).status).toBe(400);
    }
    const answered = await respond({ response: 'this' });
    expect([answered.status, await answered.json()]).toMatchObject([202, { answer: { text: 'this' } }]);
    expect((await problemOf(await respond({ text: 'again' }))).status).toBe(409);
    expect((await (await on.get('/api/v1/hitl')).json()) as object).toEqual({ requests: [] });
    const all = (await (await on.get('/api/v1/hitl?state=all')).json()) as { requests: object[] };
    expect(all.requests).toHaveLength(1);
    expect((await problemOf(await on.post('/api/v1/hitl/none/withdraw'))).status).toBe(404);
  });
});

describe('an instance', () => {
  test('[W31] of a runtime that this host has not is a 501 that says why; each family knows its own', async () => {
    for (const path of ['vms', 'containers']) {
      const problem = await problemOf(await on.post(`/api/v1/${path}`, { name: 'box' }));
      expect([problem.status, problem.detail]).toEqual([501, expect.stringContaining('/dev/kvm')]);
      expect(await (await on.get(`/api/v1/${path}`)).json()).toEqual({ [path]: [], total: 0 });
      expect((await on.get(`/api/v1/${path}/local`)).status).toBe(404);
      expect((await on.post(`/api/v1/${path}/local/destroy`)).status).toBe(404);
    }
    const made = await on.post('/api/v1/instances', { name: 'box', start: false });
    expect([made.status, await made.json()]).toMatchObject([201, { name: 'box', runtime: 'host' }]);
    await on.post('/api/v1/instances/box/stop', { grace_ms: 5 });
    await on.post('/api/v1/agents/box/stop');
    expect(on.calls).toContain('stop box 5 by local');
    expect(on.calls).toContain('stop box null by local');
    expect((await problemOf(await on.post('/api/v1/agents/foreign/stop'))).status).toBe(409);
    expect((await problemOf(await on.post('/api/v1/agents/local/rotate-secret'))).status).toBe(410);
    const probes = (await (await on.get('/api/v1/instances/probes')).json()) as { probes: object[] };
    expect(probes.probes).toHaveLength(2);
  });

  test('[W31] is ready only while something can be promised', async () => {
    expect((await on.get('/readyz')).status).toBe(200);
    on.desks.health.isAway = true;
    const away = await on.get('/readyz');
    expect([away.status, await away.json()]).toMatchObject([503, { ready: false }]);
    expect(away.headers.get('retry-after')).not.toBeNull();
    expect((await on.get('/healthz')).status).toBe(200);
    expect(await (await on.get('/healthz/deep')).json()).toMatchObject({ status: 'degraded' });
    on.desks.health.isAway = false;
  });
});
