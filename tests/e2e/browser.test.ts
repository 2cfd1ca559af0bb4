/**
 * The dashboard in a real browser: submit a task, watch its terminal, answer its question, fetch what it
 * made.
 */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Browser, chromium, type Page } from 'playwright-core';
import { stringify } from 'yaml';
import type { ModelServer } from '../model-server/server.ts';
import { apiKey, end, manifest, question, repository, scriptedModel } from './ground.ts';
import { claudeBin, type House, openHouse, root } from './house.ts';

const dir = mkdtempSync(join(tmpdir(), 'e2e-browser-'));
const program = Bun.which('chromium') ?? Bun.which('chromium-browser') ?? Bun.which('google-chrome');
let browser: Browser;
let house: House;
let model: ModelServer;

beforeAll(async () => {
  if (program === null) throw new Error('no chromium on PATH; install it (Debian: apt-get install chromium)');
  model = scriptedModel();
  // A short path to it, because the picture shows it.
  symlinkSync(claudeBin, join(dir, 'claude'));
  house = await openHouse('browser', { ANTHROPIC_API_KEY: apiKey, AGENTIC_CLAUDE_BIN: join(dir, 'claude') });
  browser = await chromium.launch({
    executablePath: program,
    args: ['--no-sandbox', '--disable-dev-shm-usage'],
  });
}, 90_000);
afterAll(async () => {
  await browser?.close();
  await house?.close();
  await model?.stop();
  rmSync(dir, { recursive: true, force: true });
}, 30_000);

/** What went wrong in the page, besides what the test looks at. */
function troubles(page: Page): string[] {
  const found: string[] = [];
  page.on('pageerror', (error) => found.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error') found.push(message.text());
  });
  return found;
}

async function submitted(page: Page): Promise<string> {
  const wish = {
    id: 'release-notes',
    name: 'Start the release notes',
    mode: 'interactive',
    prompt: 'Please start the release notes of 1.0.',
    patterns: ['notes/**'],
  } as const;
  await page.goto(`${house.url()}/#/tasks/new`);
  await page.getByTestId('tab-yaml').click();
  await page
    .locator('textarea')
    .first()
    .fill(stringify(manifest({ ...wish, origin: repository(dir), model })));
  await page.getByTestId('submit-task').click();
  await page.waitForURL(/#\/tasks\/(?!new)[^/]+/);
  return decodeURIComponent(/#\/tasks\/([^/?]+)/.exec(page.url())?.[1] ?? '');
}

/** For the README. It is posed, so it may wait for the fades to end. */
async function picture(page: Page): Promise<void> {
  await page.waitForTimeout(2_000);
  await page.screenshot({ path: join(root, 'docs', 'dashboard.png') });
}

test('[E6] on the dashboard a task is submitted, watched, answered and its artifact downloaded, by clicking', async () => {
  const page = await browser.newPage({ viewport: { width: 1440, height: 900 }, acceptDownloads: true });
  const wrong = troubles(page);
  const id = await submitted(page);
  const asked = await question(house, id);

  await page.goto(`${house.url()}/#/sessions/${asked.session_id}`);
  await page.locator('.xterm-rows').getByText('Do you want to proceed?').first().waitFor();
  if (process.env['SCREENSHOT'] === '1') await picture(page);

  await page.goto(`${house.url()}/#/questions`);
  const card = page.locator(`[data-testid=question][data-hitl-id="${asked.hitl_id}"]`).first();
  await card.waitFor();
  expect(await card.getByTestId('question-prompt').textContent()).toContain('Do you want to proceed?');
  expect(await card.getByTestId('option').count()).toBe(3);
  await card.getByTestId('option').first().click();

  expect(await end(house, id, model)).toMatchObject({ state: 'COMPLETED', error: null });
  await page.goto(`${house.url()}/#/tasks/${id}`);
  await page.getByText('COMPLETED').first().waitFor();
  await page.getByRole('tab', { name: /artifacts/i }).click();
  const [download] = await Promise.all([
    page.waitForEvent('download'),
    page.locator('a[download][href*="README.md"], a[href*="README.md"]').first().click(),
  ]);
  expect(readFileSync(await download.path(), 'utf8')).toBe('# Release 1.0\n');
  expect(wrong).toEqual([]);
  await page.close();
}, 180_000);
