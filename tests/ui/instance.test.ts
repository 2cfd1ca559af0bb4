/** The page of an instance before a real server: its walls, its use, its files, and what a viewer may. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { randomBytes } from 'node:crypto';
import { readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Page, Route } from 'playwright-core';
import type { AgentView, InstanceView, TaskView } from '../../src/views.ts';
import { proofWords } from '../../ui/state/walls.ts';
import { until } from '../e2e/house.ts';
import { agentView } from '../http/views.ts';
import { boxed, spender, usageReport } from './recorded.ts';
import { agentReady, closeMs, openMs, openStage, type Stage, testMs } from './stage.ts';

let stage: Stage;
let outbox = '';
beforeAll(async () => {
  stage = await openStage('instance');
  await agentReady(stage.house);
  const { instance_id } = await stage.house.get<InstanceView>('instances/local');
  outbox = join(stage.house.dataDir, 'agentshare', 'instances', instance_id, 'outbox');
}, openMs);
afterAll(() => stage?.close(), closeMs);

/** Answers a list of the API with one more in it. */
async function withMore(
  page: Page,
  path: string,
  add: (whole: Record<string, unknown[]>) => void,
): Promise<void> {
  await page.route(path, async (route: Route) => {
    const response = await route.fetch();
    const whole = (await response.json()) as Record<string, unknown[]>;
    add(whole);
    await route.fulfill({ response, json: whole });
  });
}

test(
  '[U19] an instance shows what confines it, what it uses, and how its agent proved itself',
  async () => {
    const { page, troubles } = await stage.open('#/agents/local');
    const walls = page.getByTestId('walls');
    await walls
      .getByText('None. A process on this host may do whatever the user of the server may.')
      .waitFor();
    await walls.getByRole('meter', { name: 'CPU' }).waitFor();
    expect(await walls.getByRole('meter', { name: 'Memory' }).getAttribute('aria-valuetext')).toMatch(
      /MiB|GiB/,
    );
    await walls.getByText(/\d+ process(es)? · files /).waitFor();
    const { proof } = await stage.house.get<AgentView>('agents/local');
    expect(proof).not.toBeNull();
    await page.getByTestId('proof').getByText(proofWords(proof), { exact: true }).waitFor();
    await page.getByText('host process').first().waitFor();
    await page
      .getByText(/^hostname /)
      .first()
      .waitFor();
    expect(troubles).toEqual([]);
    await page.context().close();
  },
  testMs,
);

test(
  '[U19, U21] one in a container shows its image, limits, network, what is not enforced, and what its models cost',
  async () => {
    const { page, troubles } = await stage.visit('/#/events');
    const proof = {
      kind: 'certificate',
      serial: '5C0FA7B1C2D3',
      not_after: '2026-11-27T09:00:00.000Z',
    } as const;
    const agent: AgentView = agentView({ id: 'boxed', runtime: 'container', proof });
    await withMore(page, '**/api/v1/instances', ({ instances }) => instances?.push(boxed()));
    await withMore(page, '**/api/v1/agents', ({ agents }) => agents?.push(agent));
    await page.route('**/api/v1/usage?**', (route) => route.fulfill({ json: usageReport('boxed') }));
    const use = {
      measured_at: '2026-11-26T09:00:00.000Z',
      cpu_percent: 75,
      memory_bytes: 536_870_912,
      processes: 9,
    };
    await page.route('**/api/v1/instances/boxed/usage', (route) => route.fulfill({ json: use }));
    await page.route('**/api/v1/storage/instances/boxed/**', (route) =>
      route.fulfill({ json: { root: '', path: '', entries: [], next: null } }),
    );
    await page.goto(`${stage.house.url()}/?again#/agents/boxed`);
    const walls = page.getByTestId('walls');
    await walls.getByText('b2bfd85f72ea', { exact: true }).waitFor();
    await walls.getByText('75% of 150%').waitFor();
    const words = ((await walls.textContent()) ?? '').replaceAll(/\s+/g, ' ');
    for (const said of [
      '1.5 processors',
      '1.0 GiB memory',
      '512 processes',
      'allowlist: it reaches these and nothing else',
      '*.example.net:443',
      'disk: the file system of the data directory has no project quotas',
      'only uploads are refused beyond it',
    ])
      expect(words).toContain(said);
    await walls.getByText('512 MiB / 1.0 GiB').waitFor();
    await page.getByTestId('proof').getByText('a certificate').waitFor();
    const models = page.getByTestId('agent-spending');
    await models.getByText('12 requests · 24.0k tokens · $0.3750').first().waitFor();
    await models.getByText('a-model').waitFor();
    expect(troubles).toEqual([]);
    await page.context().close();
  },
  testMs,
);

test(
  '[U21] an agent that spent nothing says so, and a task shows its spending and what is left of its budget',
  async () => {
    const { page, troubles } = await stage.open('#/agents/local');
    await page.getByTestId('agent-spending').getByText('Nothing went through the gateway').waitFor();
    const task: TaskView = spender();
    await page.route(`**/api/v1/tasks/${task.id}`, (route) => route.fulfill({ json: task }));
    await page.route(`**/api/v1/tasks/${task.id}/artifacts`, (route) =>
      route.fulfill({ json: { artifacts: [] } }),
    );
    await page.goto(`${stage.house.url()}/#/tasks/${task.id}?tab=artifacts`);
    const spending = page.getByTestId('task-spending');
    await spending.getByText('$0.6250 of $1.00 · 76.0k of 100.0k tokens left').waitFor();
    await spending.getByText('12 requests · 24.0k tokens').waitFor();
    expect(troubles).toEqual([]);
    await page.context().close();
  },
  testMs,
);

test(
  '[U20] files are listed, looked into, downloaded byte for byte, and uploaded by a click',
  async () => {
    const { house } = stage;
    const raw = new Uint8Array(randomBytes(3_000));
    raw[5] = 0;
    const put = (path: string, body: Uint8Array<ArrayBuffer> | string) =>
      fetch(
        `${house.url()}/api/v1/storage/instances/local/outbox?parents=true&path=${encodeURIComponent(path)}`,
        {
          method: 'PUT',
          body: new Blob([body]),
        },
      );
    await put('report ü.txt', 'what it found\n');
    await put('made/by it/raw.bin', raw);
    symlinkSync('/etc/passwd', join(outbox, 'a link'));
    const { page, troubles, strangers } = await stage.open('#/agents/local');
    const files = page.getByTestId('files');
    const row = (name: string) => files.locator(`[data-testid=file-row][data-name="${name}"]`);

    await row('report ü.txt').getByRole('button', { name: 'report ü.txt' }).click();
    await page.getByTestId('peek-text').getByText('what it found').waitFor();
    await page.keyboard.press('Escape');
    await row('a link').getByText('a link to /etc/passwd, which is not followed').waitFor();
    expect(await row('a link').getByRole('button').count()).toBe(0);

    await row('made').getByRole('button', { name: 'made' }).focus();
    await page.keyboard.press('Enter');
    await row('by it').getByRole('button', { name: 'by it' }).click();
    await row('raw.bin').getByRole('button', { name: 'raw.bin' }).click();
    await page.getByTestId('file-peek').getByText('It is no text. Download it instead.').waitFor();
    await page.keyboard.press('Escape');
    const coming = page.waitForEvent('download');
    await row('raw.bin').getByTestId('file-download').click();
    const download = await coming;
    expect(download.suggestedFilename()).toBe('raw.bin');
    expect(readFileSync(await download.path()).equals(raw)).toBe(true);
    await files.getByRole('button', { name: 'Outbox' }).click();
    await row('report ü.txt').waitFor();

    await page.getByTestId('area-inbox').click();
    await files.getByTestId('files-empty').getByText('Nothing is here yet.').waitFor();
    const mine = join(house.dir, 'orders & more.txt');
    writeFileSync(mine, 'do this');
    await files.getByTestId('file-field').setInputFiles(mine);
    await row('orders & more.txt').waitFor();
    const read = await house.bytes('storage/instances/local/inbox/_download?path=orders%20%26%20more.txt');
    expect(Buffer.from(read.bytes).toString()).toBe('do this');

    // The order of keys: from the place that is shown to the next, and nothing in between.
    await page.getByTestId('area-inbox').focus();
    await page.keyboard.press('ArrowRight');
    await page.locator('#area-outbox[aria-selected=true]').waitFor();
    await page.getByTestId('area-global').click();
    await row('tools').waitFor();
    expect([troubles, strangers]).toEqual([[], []]);
    await page.context().close();
  },
  testMs,
);

test(
  '[U22] a viewer is shown everything, and nothing to press that would be refused',
  async () => {
    const { house } = stage;
    const { task_id } = await house.post<{ task_id: string }>('tasks', {
      manifest: {
        version: '1',
        kind: 'Task',
        metadata: { name: 'Fails' },
        agent: { tool: 'command', mode: 'headless', command: 'false' },
      },
    });
    await until('the task has ended', async () => (await house.get<TaskView>(`tasks/${task_id}`)).ended_at);
    const asks = {
      command: 'bash',
      args: ['-c', 'read -r -p "Go on? [y/N] " a; sleep 600'],
      cols: 80,
      rows: 24,
    };
    const { session_id } = await house.post<{ session_id: string }>('agents/local/sessions', asks);
    await until('its question', async () => {
      const { requests } = await house.get<{ requests: unknown[] }>('hitl?state=open');
      return requests.length > 0;
    });
    boss = (await house.post<{ token: string }>('tokens', { name: 'boss', role: 'admin' })).token;
    const { token } = await asBoss('tokens', { name: 'guest', role: 'viewer' });
    const { page, troubles } = await stage.visit('/sign-in');
    await page.getByLabel('Operator token').fill(token);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.locator('[data-testid=connection][data-state=live]').first().waitFor({ state: 'attached' });
    await page.getByTestId('sign-out').first().waitFor({ state: 'attached' });
    const pages: readonly (readonly [hash: string, seen: string])[] = [
      ['#/', '[data-testid=agent-card]'],
      ['#/agents/local', '[data-testid=file-row]'],
      ['#/instances', '[data-testid=instance-row]'],
      ['#/questions', '[data-testid=question]'],
      [`#/tasks/${task_id}`, '[data-testid=task-progress]'],
      [`#/sessions/${session_id}`, '[data-testid=terminal][data-link=live]'],
      ['#/tasks/new', '[data-testid=page-new-task]'],
    ];
    const changing =
      /^(new-|instance-|task-cancel|task-retry|end-session|take-control|submit-task|file-upload|option|answer-)/;
    for (const [hash, seen] of pages) {
      await page.goto(`${house.url()}/${hash}`);
      await page.locator(seen).first().waitFor();
      const found = await page
        .locator('button:visible')
        .evaluateAll((all) =>
          all.map((one) => one.dataset['testid'] ?? one.getAttribute('aria-label') ?? ''),
        );
      const offered = found.filter((one) => changing.test(one) || /^(Create|Destroy|New) /.test(one));
      expect({ hash, offered }).toEqual({ hash, offered: [] });
    }
    await page.goto(`${house.url()}/#/agents/local`);
    await page.getByTestId('files').waitFor();
    await page.keyboard.press('n');
    await page.keyboard.press('Control+k');
    await page.getByTestId('palette-input').fill('new');
    expect(await page.getByTestId('palette').getByText('New task').count()).toBe(0);
    await page.keyboard.press('Escape');
    expect(await page.getByTestId('page-agent').count()).toBe(1);
    expect(troubles).toEqual([]);
    await page.context().close();
  },
  testMs,
);

let boss = '';
/** As the admin, whose token is needed from the first one on. */
async function asBoss(path: string, body: object): Promise<{ token: string }> {
  const response = await fetch(`${stage.house.url()}/api/v1/${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${boss}` },
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  return (await response.json()) as { token: string };
}
