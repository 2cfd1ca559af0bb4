/** Questions on the page: what real programs ask in a terminal, answered by a press, a key or a text. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import type { Locator, Page } from 'playwright-core';
import type { HitlView } from '../../src/views.ts';
import { until } from '../e2e/house.ts';
import { agentReady, bash, closeMs, openMs, openStage, type Session, type Stage, testMs } from './stage.ts';

let stage: Stage;
beforeAll(async () => {
  stage = await openStage('questions');
  await agentReady(stage.house);
}, openMs);
afterAll(() => stage?.close(), closeMs);

function cardOf(page: Page, session: Session): Promise<Locator> {
  return until(`a question of ${session.session_name}`, async () => {
    const { requests } = await stage.house.get<{ requests: HitlView[] }>('hitl?state=open');
    const question = requests.find((one) => one.session_id === session.session_id);
    return question && page.locator(`[data-testid=question][data-hitl-id="${question.hitl_id}"]`);
  });
}

async function screenSays(session: Session, text: string): Promise<void> {
  await until(`the screen says ${text}`, async () => {
    const screen = await stage.house.get<{ text: string }>(`sessions/${session.session_id}/screen`);
    return screen.text.includes(text);
  });
}

const menu = 'PS3="Which colour? "; select c in red green blue; do echo "it is $c"; break; done; sleep 600';

test(
  '[U7] what a program asks comes to the inbox by itself, and a press of an option answers it',
  async () => {
    const { page, troubles } = await stage.open('#/tasks');
    const session = await bash(stage.house, menu);
    const card = await cardOf(page, session);
    await card.waitFor();
    await page.getByTestId('inbox').getByRole('heading', { name: '1 question' }).waitFor();
    expect(await page.getByTestId('question-badge').first().textContent()).toBe('1');
    expect(await page.title()).toStartWith('(1) ');
    expect(await page.getByTestId('announcer').textContent()).toContain('Which colour?');
    expect(await card.getByTestId('option').allInnerTexts()).toEqual([
      expect.stringContaining('red'),
      expect.stringContaining('green'),
      expect.stringContaining('blue'),
    ]);
    await card.getByTestId('option').nth(1).click();
    await screenSays(session, 'it is green');
    await page.locator('[data-testid=question][data-state=answered]').waitFor();
    await page.getByTestId('question-badge').first().waitFor({ state: 'detached' });
    expect(troubles).toEqual([]);
    await page.context().close();
  },
  testMs,
);

test(
  '[U8] keys answer the question that has the focus, and no other key on the page does',
  async () => {
    const { page } = await stage.open('#/tasks');
    const colour = await bash(stage.house, menu);
    const sure = await bash(stage.house, 'read -r -p "Go on? [y/N] " a; echo "told $a"; sleep 600');
    const first = await cardOf(page, colour);
    const second = await cardOf(page, sure);
    await first.waitFor();
    await second.waitFor();
    await page.locator('h1').click();
    await page.keyboard.press('2');
    await page.keyboard.press('y');
    expect([await first.getAttribute('data-state'), await second.getAttribute('data-state')]).toEqual([
      'open',
      'open',
    ]);
    // `q` goes to the question that has waited longest.
    await page.keyboard.press('q');
    expect(await first.evaluate((element) => element === document.activeElement)).toBe(true);
    await page.keyboard.press('3');
    await screenSays(colour, 'it is blue');
    await second.focus();
    await page.keyboard.press('y');
    await screenSays(sure, 'told y');
    await page.context().close();
  },
  testMs,
);

test(
  '[U9] a text is answered in a field, a secret in one that hides it, and no page shows a secret again',
  async () => {
    const { page } = await stage.open('#/questions');
    const name = await bash(stage.house, 'read -r -p "What is your name? " n; echo "hello $n"; sleep 600');
    const named = await cardOf(page, name);
    await named.getByTestId('answer-text').fill('Ada');
    await named.getByTestId('answer-send').click();
    await screenSays(name, 'hello Ada');
    const secret = await bash(
      stage.house,
      'read -r -s -p "Password: " p; echo; echo "it has $(printf %s "$p" | wc -c)"; sleep 600',
    );
    const hidden = await cardOf(page, secret);
    const field = hidden.getByTestId('answer-secret');
    expect(await field.getAttribute('type')).toBe('password');
    await field.fill('tr0ub4dor');
    await page.keyboard.press('Enter');
    await screenSays(secret, 'it has 9');
    const history = page.getByTestId('question-history');
    await history.getByText('Password:').waitFor();
    await history.getByText('What is your name?').waitFor();
    expect(await page.content()).not.toContain('tr0ub4dor');
    await page.goto(`${stage.house.url()}/#/events`);
    await page.locator('[data-type^="hitl."]').first().waitFor();
    for (const more of await page.locator('[data-type^="hitl."] .event-type').all()) await more.click();
    expect(await page.content()).not.toContain('tr0ub4dor');
    await page.context().close();
  },
  testMs,
);

test(
  '[U10] all of what stood on the screen is read in a question, however wide it was',
  async () => {
    const session = await bash(stage.house, 'sleep 600');
    const end = 'the-last-word';
    const context = `${'─'.repeat(200)}\n${'a long line '.repeat(20)}${end}\n${'x'.repeat(300)}`;
    await stage.house.post(`agents/local/hitl`, {
      session_id: session.session_id,
      prompt: 'Is this right?',
      context,
      kind: 'confirm',
    });
    const { page } = await stage.open('#/tasks');
    const card = await cardOf(page, session);
    const text = card.locator('pre');
    await text.getByText(end).waitFor();
    const hidden = await text.evaluate((pre) => pre.scrollWidth - pre.clientWidth);
    expect(hidden).toBe(0);
    expect(await card.evaluate((element) => element.scrollWidth - element.clientWidth)).toBe(0);
    await card.getByRole('button', { name: 'Withdraw' }).click();
    await page.locator('[data-testid=question][data-state=withdrawn]').waitFor();
    await page.context().close();
  },
  testMs,
);
