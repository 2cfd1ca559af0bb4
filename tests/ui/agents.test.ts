/** Agents and their instances on the page, before a real server that begins with none. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { agentReady, closeMs, openMs, openStage, type Stage, testMs } from './stage.ts';

let stage: Stage;
beforeAll(async () => {
  stage = await openStage('agents', { AGENTIC_FIRST_INSTANCE: '' });
}, openMs);
afterAll(() => stage?.close(), closeMs);

test(
  '[U1] where there is nothing yet, a page says so and how to begin',
  async () => {
    const { page, troubles } = await stage.open('');
    await page.getByTestId('overview-empty').getByRole('button', { name: 'Create instance' }).waitFor();
    for (const [hash, testId] of [
      ['#/questions', 'questions-empty'],
      ['#/tasks', 'tasks-empty'],
      ['#/instances', 'instances-empty'],
    ] as const) {
      await page.goto(`${stage.house.url()}/${hash}`);
      const empty = page.getByTestId(testId);
      await empty.waitFor();
      expect(await empty.locator('pre').textContent()).toContain(`curl -X POST ${stage.house.url()}/api/v1/`);
    }
    await page.goto(`${stage.house.url()}/#/events`);
    await page.getByText('Nothing has happened yet.').waitFor();
    for (const hash of ['#/tasks/nothing', '#/sessions/nothing', '#/agents/nothing', '#/elsewhere']) {
      await page.goto(`${stage.house.url()}/${hash}`);
      await page
        .getByText(/There is no/)
        .first()
        .waitFor();
    }
    // Chromium itself writes a 404 to the console: it is what the page asked to know.
    expect(troubles.filter((text) => !text.includes('404'))).toEqual([]);
    await page.context().close();
  },
  testMs,
);

test(
  '[U2] an instance is created, stopped, started and destroyed by clicking, and each state is seen',
  async () => {
    const { page, troubles } = await stage.open('#/instances');
    const row = page.locator('[data-testid=instance-row][data-instance=builder]');

    await page.getByTestId('new-instance').click();
    const dialog = page.getByTestId('dialog-instance');
    await dialog.getByText('No isolation: the agent has full access to this host.').waitFor();
    await dialog.getByTestId('instance-name').fill('Not A Name');
    await dialog.getByTestId('instance-create').click();
    await dialog.locator('.fault').waitFor();
    await dialog.getByTestId('instance-name').fill('builder');
    await dialog.getByTestId('instance-create').click();
    await dialog.waitFor({ state: 'detached' });
    await page.locator('[data-instance=builder][data-state=running]').waitFor();
    await row.locator('[data-state=ready]').waitFor();

    await page.goto(`${stage.house.url()}/#/`);
    const card = page.locator('[data-testid=agent-card][data-agent=builder]');
    await card.locator('.state[data-state=ready]').waitFor();
    expect(await card.getByRole('meter', { name: 'Memory' }).getAttribute('aria-valuetext')).toMatch(/GiB/);

    await page.goto(`${stage.house.url()}/#/instances`);
    await row.getByTestId('instance-stop').click();
    await page.getByTestId('confirm-go').click();
    await page.locator('[data-instance=builder][data-state=stopped]').waitFor();
    await row.getByTestId('instance-start').click();
    await page.locator('[data-instance=builder][data-state=running]').waitFor();
    await agentReady(stage.house, 'builder');

    await row.getByTestId('instance-destroy').click();
    const go = page.getByTestId('confirm-go');
    expect(await go.isDisabled()).toBe(true);
    await page.getByTestId('confirm-word').fill('builder');
    await go.click();
    await row.waitFor({ state: 'detached' });
    await page.getByTestId('instances-empty').waitFor();
    expect(troubles.filter((text) => !/4(00|22)/.test(text))).toEqual([]);
    await page.context().close();
  },
  testMs,
);
