/** Terminals on the page: real programs behind a real server, also one that is killed. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import type { Page } from 'playwright-core';
import { until } from '../e2e/house.ts';
import { agentReady, bash, closeMs, openMs, openStage, type Stage, testMs, untilShown } from './stage.ts';

let stage: Stage;
beforeAll(async () => {
  stage = await openStage('terminal');
  await agentReady(stage.house);
}, openMs);
afterAll(() => stage?.close(), closeMs);

const control = (page: Page) => page.getByTestId('control-state');

/** Until the text of the place is what is meant. */
async function says(page: Page, text: string): Promise<void> {
  await control(page).getByText(text, { exact: true }).first().waitFor();
}

test(
  '[U3] a terminal is opened, taken, typed into, interrupted and resized, and given back',
  async () => {
    const { page, troubles } = await stage.open('');
    await page.getByTestId('new-terminal').first().click();
    await page.getByTestId('session-command').fill('bash --norc --noprofile');
    await page.getByTestId('session-start').click();
    await page.waitForURL(/#\/sessions\//);
    await page.locator('[data-testid=terminal][data-link=live]').waitFor();
    await says(page, 'Watching');

    // An observer's keys are the page's: nothing of this reaches the program.
    await page.locator('.xterm').click();
    await page.keyboard.type('xyz');
    await page.getByTestId('take-control').click();
    await says(page, 'You control');
    await page.keyboard.type('echo "typed: $((6 * 7))"\n');
    expect(await untilShown(page, 'typed: 42')).not.toContain('xyz');
    await page.keyboard.type(`bash -c 'trap "echo stopped: $((7 * 7)); exit" INT; echo runs; sleep 600'\n`);
    await untilShown(page, '\nruns');
    await page.getByTestId('signal-int').click();
    await untilShown(page, 'stopped: 49');

    const foot = page.locator('.terminal-foot');
    expect(await foot.textContent()).toContain('120 × 32');
    await page.getByTestId('resize-pty').click();
    await foot.getByText(/^(?!120 × 32)\d+ × \d+/).waitFor();
    const [, cols, rows] = /(\d+) × (\d+)/.exec((await foot.textContent()) ?? '') ?? [];
    // The keys are the terminal's still: who pressed a tool of it goes on typing.
    await page.keyboard.type('stty size\n');
    await untilShown(page, `${rows} ${cols}`);

    await page.keyboard.press('Shift+Escape');
    expect(await page.evaluate(() => document.activeElement?.hasAttribute('data-terminal'))).toBe(true);
    await page.getByTestId('release-control').click();
    await says(page, 'Watching');
    await page.getByTestId('end-session').click();
    await page.getByTestId('confirm-go').click();
    await page.getByTestId('terminal-ended').waitFor();
    expect(troubles).toEqual([]);
    await page.context().close();
  },
  testMs,
);

test(
  '[U4] who watches sees who controls, and that control was taken from them',
  async () => {
    const session = await bash(stage.house, 'read -r line; echo "got $line"; sleep 600');
    const first = await stage.open(`#/sessions/${session.session_id}`);
    await first.page.getByTestId('take-control').waitFor();
    await says(first.page, 'Watching');
    const second = await stage.open(`#/sessions/${session.session_id}`);
    await says(second.page, '2 watching');
    await says(first.page, '2 watching');

    await first.page.getByTestId('take-control').click();
    await says(first.page, 'You control');
    await second.page.locator('[data-testid=control-state]:has-text("Controlled by")').waitFor();
    await first.page.keyboard.type('hello\n');
    await untilShown(second.page, 'got hello');

    await second.page.getByTestId('take-control').click();
    await says(second.page, 'You control');
    await first.page.locator('[data-testid=control-state]:has-text("Controlled by")').waitFor();
    expect([...first.troubles, ...second.troubles]).toEqual([]);
    await first.page.context().close();
    await second.page.context().close();
  },
  testMs,
);

test(
  '[U5] what a session has put out is counted while it is looked at',
  async () => {
    const session = await bash(
      stage.house,
      'read -r -t 600 line; head -c 5000 /dev/zero | tr "\\0" x; sleep 600',
    );
    const { page } = await stage.open(`#/sessions/${session.session_id}`);
    const output = page.getByTestId('session-output');
    await output.getByText(/^\d+ B$/).waitFor();
    await stage.house.post(`sessions/${session.session_id}/input`, { text: '\n' });
    await output.getByText('4.9 KiB').waitFor();
    // An event, which carries no count, does not undo it.
    await fetch(`${stage.house.url()}/api/v1/sessions/${session.session_id}?signal=KILL`, {
      method: 'DELETE',
    });
    await page.getByTestId('terminal-ended').waitFor();
    await page.locator('.counts .state[data-state=killed]').waitFor();
    expect(await output.textContent()).toBe('4.9 KiB');
    await page.context().close();
  },
  testMs,
);

/** What came over the page's sockets of a session. */
interface Received {
  readonly urls: string[];
  readonly frames: { readonly offset: number; readonly bytes: Uint8Array; readonly isScreen: boolean }[];
}

function received(page: Page): Received {
  const all: Received = { urls: [], frames: [] };
  page.on('websocket', (socket) => {
    all.urls.push(socket.url());
    socket.on('framereceived', ({ payload }) => {
      if (typeof payload === 'string') return;
      const isScreen = payload[0] === 2;
      const offset = Number(payload.readBigUInt64BE(1));
      all.frames.push({ offset, isScreen, bytes: new Uint8Array(payload.subarray(isScreen ? 13 : 9)) });
    });
  });
  return all;
}

test(
  '[U6] when the server is killed and started again, the page is live by itself and its terminal goes on with not a byte lost or doubled',
  async () => {
    const { house } = stage;
    const lines = 600;
    const script = `for i in $(seq ${lines}); do echo "line $i"; sleep 0.01; done; echo all said; sleep 600`;
    const { page } = await stage.open('#/tasks', { permissions: ['clipboard-read', 'clipboard-write'] });
    const all = received(page);
    const session = await bash(house, script);
    await page.goto(`${house.url()}/#/sessions/${session.session_id}`);
    await page.getByTestId('take-control').click();
    await says(page, 'You control');
    await untilShown(page, 'line 40');
    await house.kill9();
    await page.getByTestId('connection-banner').waitFor();
    await page.locator('[data-testid=terminal][data-link=lost]').waitFor();
    await house.start();
    await page.locator('[data-testid=terminal][data-link=live]').waitFor();
    await page.locator('[data-testid=connection][data-state=live]').first().waitFor();
    await page.getByTestId('connection-banner').waitFor({ state: 'detached' });
    await untilShown(page, 'all said');
    // Who had control has it again.
    await says(page, 'You control');

    const own = all.urls.filter((url) => url.includes(session.session_id));
    expect(own.length).toBeGreaterThan(1);
    const first = all.frames.find(({ isScreen }) => !isScreen)?.offset ?? 0;
    expect(new URL(own.at(-1) ?? '').searchParams.get('from')).not.toBe(null);
    const { bytes } = await house.bytes(`sessions/${session.session_id}/output?from=${first}`);
    await until('every byte came once', () => {
      let next = first;
      const parts: Uint8Array[] = [];
      for (const { offset, bytes, isScreen } of all.frames) {
        if (isScreen) {
          if (offset !== next && parts.length > 0)
            throw new Error(`a screen at ${offset}, where ${next} is next`);
          continue;
        }
        if (offset !== next) throw new Error(`output at ${offset}, where ${next} is next`);
        parts.push(bytes);
        next = offset + bytes.length;
      }
      return Buffer.concat(parts).equals(bytes);
    });

    await page.getByRole('button', { name: 'Copy the text' }).click();
    const copied = await page.evaluate(() => navigator.clipboard.readText());
    const told = copied.split('\n').filter((line) => line.startsWith('line '));
    expect(told).toEqual(Array.from({ length: lines }, (_, i) => `line ${i + 1}`));
    await page.context().close();
  },
  testMs,
);
