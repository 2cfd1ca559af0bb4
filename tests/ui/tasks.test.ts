/**
 * Tasks on the page: written in the form, refused with reasons at its fields, followed, ended and run again.
 */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import type { Page } from 'playwright-core';
import { parse } from 'yaml';
import { agentReady, closeMs, openMs, openStage, type Stage, testMs } from './stage.ts';

let stage: Stage;
beforeAll(async () => {
  stage = await openStage('tasks');
  await agentReady(stage.house);
}, openMs);
afterAll(() => stage?.close(), closeMs);

interface Wish {
  readonly script: string;
  readonly mode: 'headless' | 'interactive';
  readonly name: string;
  readonly patterns?: string;
}

async function fill(page: Page, { script, mode, name, patterns = '' }: Wish): Promise<void> {
  await page.getByTestId('field-tool').selectOption('command');
  await page.getByTestId('field-mode').selectOption(mode);
  await page.getByTestId('field-script').fill(script);
  await page.getByTestId('field-name').fill(name);
  await page.getByTestId('field-patterns').fill(patterns);
}

async function submit(page: Page): Promise<void> {
  await page.getByTestId('submit-task').click();
  await page.waitForURL(/#\/tasks\/(?!new)[^/]+/);
}

async function untilState(page: Page, state: string): Promise<void> {
  await page.locator(`[data-testid=task-state][data-state=${state}]`).waitFor({ state: 'attached' });
}

test(
  '[U11] what the server finds wrong in a task stands at the field it names, and what was written stays',
  async () => {
    const { page, troubles } = await stage.open('#/tasks/new');
    await fill(page, { script: 'true', mode: 'headless', name: 'Faulty' });
    await page.getByTestId('field-timeout').fill('soon');
    await page.getByTestId('field-patterns').fill('../outside/**');
    await page.getByTestId('submit-task').click();
    const fault = page.getByTestId('fault-timeout');
    await fault.waitFor();
    const field = page.getByTestId('field-timeout');
    expect(await field.getAttribute('aria-invalid')).toBe('true');
    expect(await field.getAttribute('aria-describedby')).toBe(await fault.getAttribute('id'));
    await page.getByTestId('fault-patterns').waitFor();
    expect(await page.getByTestId('field-script').inputValue()).toBe('true');

    await page.getByTestId('tab-yaml').click();
    await page.getByTestId('submit-problem').getByText('lifecycle.timeout', { exact: true }).waitFor();
    await page.reload();
    expect(await page.getByTestId('field-name').inputValue()).toBe('Faulty');
    await page.getByTestId('field-timeout').fill('5m');
    await page.getByTestId('field-patterns').fill('');
    await submit(page);
    await untilState(page, 'COMPLETED');
    expect(troubles.filter((text) => !/4(00|22)/.test(text))).toEqual([]);
    await page.context().close();
  },
  testMs,
);

test(
  '[U12] the page of a task tells its life, its log and its manifest, and its artifacts are downloaded as they are',
  async () => {
    const { page, troubles } = await stage.open('#/tasks/new', { acceptDownloads: true });
    const script =
      'echo first; echo second >&2; mkdir -p "out dir"; printf "a\\0b" > "out dir/half.bin"; echo done';
    await fill(page, { script, mode: 'headless', name: 'Makes a file', patterns: 'out dir/**' });
    const preview = parse((await page.locator('.submit-preview pre').first().textContent()) ?? '');
    expect(preview).toMatchObject({ agent: { tool: 'command', args: ['-lc', script] } });
    await submit(page);
    await untilState(page, 'COMPLETED');
    const log = page.getByTestId('task-log');
    await log.getByText('first', { exact: true }).waitFor();
    await log.locator('.line.err').getByText('second', { exact: true }).waitFor();
    await page.locator('[data-testid=log-state][data-state=done]').waitFor();
    expect(await page.getByTestId('timeline').locator('.step.past').count()).toBe(7);

    await page.getByTestId('tab-artifacts').click();
    const row = page.locator('[data-testid=artifact-row][data-name="out dir/half.bin"]');
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      row.getByTestId('artifact-download').click(),
    ]);
    expect(download.suggestedFilename()).toBe('half.bin');
    expect(readFileSync(await download.path(), 'latin1')).toBe('a\0b');
    await page.getByTestId('tab-changes').click();
    await page.getByTestId('diff').getByText('out dir/half.bin').first().waitFor();
    await page.getByTestId('tab-manifest').click();
    await page.locator('.panel pre').getByText('Makes a file').waitFor();
    expect(troubles).toEqual([]);
    await page.context().close();
  },
  testMs,
);

test(
  '[U13] a task is watched and answered in its terminal, cancelled, and run again',
  async () => {
    const { page, troubles } = await stage.open('#/tasks/new');
    const script = 'read -r -p "Continue? [y/N] " a; echo "told $a"; test "$a" = y || sleep 600';
    await fill(page, { script, mode: 'interactive', name: 'Asks' });
    await submit(page);
    await page.getByTestId('question').first().waitFor();
    await page.locator('.counts .state[data-state=waiting]').waitFor();
    await page.locator('.xterm-rows').getByText('Continue? [y/N]').waitFor();
    await page.getByTestId('task-cancel').click();
    await page.getByTestId('confirm-go').click();
    await untilState(page, 'CANCELLED');

    const cancelled = page.url();
    await page.getByTestId('task-retry').click();
    await page.getByTestId('confirm-go').click();
    await page.waitForURL((url) => url.href !== cancelled);
    const card = page.locator('[data-testid=question][data-state=open]');
    await card.waitFor();
    await card.focus();
    await page.keyboard.press('y');
    await untilState(page, 'COMPLETED');
    await page.goto(`${stage.house.url()}/#/tasks?state=completed&q=asks`);
    await page
      .locator('[data-testid=task-row][data-state=COMPLETED]')
      .getByText('Asks', { exact: true })
      .waitFor();
    expect(troubles).toEqual([]);
    await page.context().close();
  },
  testMs,
);
