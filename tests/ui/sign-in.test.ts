/** Signing in with a real browser: the page without scripts, the way back, and out again. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { closeMs, openMs, openStage, type Stage, testMs } from './stage.ts';

let stage: Stage;
let token = '';
beforeAll(async () => {
  stage = await openStage('sign-in');
  const made = await stage.house.post<{ token: string }>('tokens', { name: 'ada', role: 'admin' });
  ({ token } = made);
}, openMs);
afterAll(() => stage.close(), closeMs);

test(
  '[O13, U18] the dashboard asks who is there, goes on to where one was going, and lets one out again',
  async () => {
    const { page, troubles, strangers } = await stage.visit('/#/tasks');
    await page.waitForURL('**/sign-in?next=%2F#/tasks');
    await page.getByLabel('Operator token').fill('guessed');
    await page.keyboard.press('Enter');
    expect(await page.getByRole('alert').textContent()).toBe(
      'That token is not known here, or it has expired.',
    );
    expect(troubles.every((one) => one.includes('401'))).toBe(true);
    troubles.splice(0);
    await page.getByLabel('Operator token').fill(token);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.waitForURL(`${stage.house.url()}/#/tasks`);
    await page.locator('[data-testid=connection][data-state=live]').first().waitFor({ state: 'attached' });
    const kept = await page.evaluate(() => [
      document.cookie,
      ...Object.values(sessionStorage),
      ...Object.values(localStorage),
    ]);
    expect(kept.join(' ')).not.toMatch(/asb_|agentic-\d/);
    const [cookie] = await page.context().cookies();
    expect(cookie).toMatchObject({ httpOnly: true, sameSite: 'Strict', path: '/' });
    await page.getByTestId('sign-out').locator('visible=true').click();
    await page.waitForURL('**/sign-in');
    await page.goto(`${stage.house.url()}/`);
    await page.waitForURL('**/sign-in?next=%2F');
    expect([troubles, strangers]).toEqual([[], []]);
  },
  testMs,
);

test(
  '[O13, U18] without scripts, in light and in dark, the form works',
  async () => {
    for (const colorScheme of ['light', 'dark'] as const) {
      const { page } = await stage.visit('/sign-in', { colorScheme, javaScriptEnabled: false });
      await page.getByLabel('Operator token').fill(token);
      await page.getByRole('button', { name: 'Sign in' }).click();
      await page.waitForURL(`${stage.house.url()}/`);
      expect((await page.context().cookies()).length).toBe(1);
    }
  },
  testMs,
);

test(
  '[U18] a session that ends while the page is open is told, with the way in',
  async () => {
    const { page } = await stage.visit('/sign-in');
    await page.getByLabel('Operator token').fill(token);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.locator('[data-testid=connection][data-state=live]').first().waitFor({ state: 'attached' });
    await page.context().clearCookies();
    await page.getByTestId('signed-out').waitFor();
    await page.getByTestId('sign-in').click();
    await page.waitForURL('**/sign-in?next=%2F*');
  },
  testMs,
);
