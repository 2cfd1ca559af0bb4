/** How every page looks and is reached, in light and dark, wide and narrow, by eye and by key. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import type { Page } from 'playwright-core';
import type { HitlView, TaskView } from '../../src/views.ts';
import { contentSecurityPolicy } from '../../ui/build.ts';
import { until } from '../e2e/house.ts';
import { agentReady, bash, closeMs, openMs, openStage, type Stage, testMs, untilShown } from './stage.ts';

let stage: Stage;
let hashes: readonly string[] = [];

/** A house where every page has something long to show. */
beforeAll(async () => {
  stage = await openStage('look');
  const { house } = stage;
  await agentReady(house);
  const script = `echo ${'long-words-'.repeat(30)}; echo bad >&2; echo "a" > made.txt; exit 3`;
  const { task_id } = await house.post<{ task_id: string }>('tasks', {
    manifest: {
      version: '1',
      kind: 'Task',
      metadata: {
        name: 'A task with a name of many words, and one-that-is-very-long-and-has-no-blank-in-it',
      },
      agent: { tool: 'command', mode: 'headless', command: 'bash', args: ['-lc', script] },
      lifecycle: { artifact_patterns: ['*.txt'] },
    },
  });
  await until('the task has ended', async () => {
    const task = await house.get<TaskView>(`tasks/${task_id}`);
    return task.ended_at !== null;
  });
  const asks = `echo ${'/a/very/long/path'.repeat(12)}; read -r -p "Overwrite all of it? [y/N] " a; sleep 600`;
  const session = await bash(house, asks);
  await until('a question is open', async () => {
    const { requests } = await house.get<{ requests: HitlView[] }>('hitl?state=open');
    return requests.length > 0;
  });
  const task = `#/tasks/${task_id}`;
  hashes = [
    '#/',
    '#/questions',
    '#/tasks',
    '#/tasks/new',
    ...['log', 'artifacts', 'changes', 'manifest'].map((tab) => `${task}?tab=${tab}`),
    '#/instances',
    '#/agents/local',
    '#/agents/local?area=global',
    '#/events',
    `#/sessions/${session.session_id}`,
  ];
}, openMs);
afterAll(() => stage?.close(), closeMs);

async function visit(page: Page, hash: string): Promise<void> {
  await page.goto(`${stage.house.url()}/${hash}`);
  await page.locator('main h1').waitFor();
  await page.waitForFunction(() => !document.querySelector('.loading'));
  await page.evaluate(() => document.fonts.ready);
  // What fades in is judged when it is there.
  await page.waitForFunction(() =>
    document
      .getAnimations()
      .every(
        (one) =>
          one.playState !== 'running' ||
          one.effect?.getComputedTiming().iterations === Number.POSITIVE_INFINITY,
      ),
  );
}

/** Texts whose contrast is below what WCAG 2 AA asks, with their figures. */
function faint(): string[] {
  const canvas = document.createElement('canvas');
  const brush = canvas.getContext('2d', { willReadFrequently: true });
  type Colour = readonly [red: number, green: number, blue: number, alpha: number];
  const colour = (css: string): Colour => {
    if (!brush) throw new Error('no canvas');
    brush.clearRect(0, 0, 1, 1);
    brush.fillStyle = css;
    brush.fillRect(0, 0, 1, 1);
    const [red = 0, green = 0, blue = 0, alpha = 0] = brush.getImageData(0, 0, 1, 1).data;
    return [red, green, blue, alpha / 255];
  };
  const over = (top: Colour, below: Colour): Colour => {
    const mix = (i: 0 | 1 | 2) => top[i] * top[3] + below[i] * (1 - top[3]);
    return [mix(0), mix(1), mix(2), 1];
  };
  const groundOf = (element: Element | null): Colour => {
    if (!element) return [255, 255, 255, 1];
    const own = colour(getComputedStyle(element).backgroundColor);
    return own[3] === 1 ? own : over(own, groundOf(element.parentElement));
  };
  const light = ([red, green, blue]: Colour): number => {
    const linear = (part: number) => {
      const share = part / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    };
    return 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
  };
  const found: string[] = [];
  for (const element of document.querySelectorAll<HTMLElement>('body *')) {
    const own = [...element.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE);
    const text = own
      .map((node) => node.textContent ?? '')
      .join('')
      .trim();
    const isExempt = element.closest('.xterm, .sr, :disabled, svg, option, .skip') !== null;
    if (
      text === '' ||
      isExempt ||
      !element.checkVisibility({ opacityProperty: true, visibilityProperty: true })
    )
      continue;
    const style = getComputedStyle(element);
    const ground = groundOf(element);
    const [a, b] = [light(over(colour(style.color), ground)), light(ground)];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const size = Number.parseFloat(style.fontSize);
    const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (isLarge ? 3 : 4.5))
      found.push(`${element.className || element.tagName} "${text.slice(0, 30)}": ${ratio.toFixed(2)}`);
  }
  return found;
}

/** What could be pressed on the page and lies under something else. */
function covered(): string[] {
  const found: string[] = [];
  for (const element of document.querySelectorAll<HTMLElement>(
    'main button, main a, main input, main select, main textarea:not(.xterm-helper-textarea)',
  )) {
    element.scrollIntoView({ block: 'center', inline: 'center', behavior: 'instant' });
    const { left, top, width, height } = element.getBoundingClientRect();
    const hit = document.elementFromPoint(left + width / 2, top + height / 2);
    const label = element.closest('label');
    const isReached =
      hit !== null && (element.contains(hit) || hit.contains(element) || label?.contains(hit));
    const isBehindMain = hit?.tagName === 'MAIN' || hit === document.body;
    if (width > 0 && (!isReached || isBehindMain))
      found.push(`${element.tagName} ${element.textContent?.slice(0, 40)}`);
  }
  return found;
}

for (const scheme of ['light', 'dark'] as const) {
  test(
    `[U14] every text of every page has a contrast of 4.5 to 1 in ${scheme}`,
    async () => {
      const { page, troubles, strangers } = await stage.open('', { colorScheme: scheme });
      for (const hash of hashes) {
        await visit(page, hash);
        expect({ hash, faint: await page.evaluate(faint) }).toEqual({ hash, faint: [] });
      }
      const ground = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
      expect(ground).toBe(scheme === 'light' ? 'rgb(246, 246, 244)' : 'rgb(14, 16, 20)');
      // It would have told of everything it may not load, too.
      expect({ troubles, strangers }).toEqual({ troubles: [], strangers: [] });
      // The measure works: a grey that is too faint in either is found.
      await page.evaluate(() => document.documentElement.style.setProperty('--muted', '#777777'));
      expect(await page.evaluate(faint)).not.toEqual([]);
      await page.context().close();
    },
    testMs,
  );
}

test(
  '[U14] light or dark is the reader’s choice, and kept',
  async () => {
    const { page } = await stage.open('#/tasks', { colorScheme: 'light' });
    const theme = () => page.evaluate(() => getComputedStyle(document.documentElement).colorScheme);
    expect(await theme()).toBe('light');
    await page.getByTestId('theme').first().click();
    expect(await theme()).toBe('dark');
    await page.reload();
    await page.locator('main h1').waitFor();
    expect(await theme()).toBe('dark');
    await page.context().close();
  },
  testMs,
);

test(
  '[U15] on a page of 390 pixels nothing is beside the screen, and all is reached',
  async () => {
    const { page, troubles } = await stage.open('', {
      viewport: { width: 390, height: 844 },
      hasTouch: true,
      isMobile: true,
    });
    for (const hash of hashes) {
      await visit(page, hash);
      const beside = await page.evaluate(() => {
        const main = document.querySelector('main');
        const root = document.documentElement;
        return [root.scrollWidth - root.clientWidth, main ? main.scrollWidth - main.clientWidth : -1];
      });
      expect({ hash, beside }).toEqual({ hash, beside: [0, 0] });
      expect({ hash, covered: await page.evaluate(covered) }).toEqual({ hash, covered: [] });
    }
    await visit(page, '#/tasks');
    await page.getByTestId('question-banner').tap();
    await page.getByTestId('option').first().waitFor();
    await page.locator('.bottom [data-testid=nav-instances]').tap();
    await page.getByTestId('page-instances').waitFor();
    expect(troubles).toEqual([]);
    await page.context().close();
  },
  testMs,
);

test(
  '[U16] everything is reached with the keyboard, and what has the focus is seen',
  async () => {
    const { page } = await stage.open('#/tasks');
    for (const hash of ['#/', '#/agents/local', '#/questions', '#/tasks/new', hashes.at(-1) ?? '']) {
      await visit(page, hash);
      await page.evaluate(() => {
        document.body.tabIndex = -1;
        document.body.focus();
      });
      const unseen: string[] = [];
      const reached = new Set<string>();
      for (let step = 0; step < 60; step += 1) {
        await page.keyboard.press('Tab');
        const at = await page.evaluate(() => {
          const element = document.activeElement;
          if (!(element instanceof HTMLElement) || element === document.body) return null;
          // A terminal's cursor shows that it has the focus.
          const isSeen = (one: Element | null): boolean => {
            if (!one) return false;
            const { outlineStyle, outlineWidth } = getComputedStyle(one);
            return outlineStyle !== 'none' && Number.parseFloat(outlineWidth) >= 2;
          };
          const frame = element.closest('.xterm') ? element.closest('.term') : element;
          const name = `${element.tagName} ${element.getAttribute('aria-label') ?? element.textContent ?? ''}`;
          return { name: name.slice(0, 60), isSeen: isSeen(frame), testId: element.dataset['testid'] ?? '' };
        });
        if (!at) break;
        reached.add(at.testId);
        if (!at.isSeen) unseen.push(at.name);
      }
      expect({ hash, unseen }).toEqual({ hash, unseen: [] });
      expect([...reached]).toContain('nav-tasks');
    }
    await page.keyboard.press('Escape');
    await page.locator('h1').click();
    for (const [keys, testId] of [
      ['gq', 'page-questions'],
      ['gi', 'page-instances'],
      ['ge', 'page-events'],
      ['n', 'page-new-task'],
    ] as const) {
      await page.keyboard.type(keys);
      await page.getByTestId(testId).waitFor();
      await page.locator('h1').click();
    }
    await page.keyboard.press('Control+k');
    await page.getByTestId('palette-input').fill('create inst');
    await page.keyboard.press('Enter');
    await page.getByTestId('dialog-instance').waitFor();
    await page.keyboard.press('Escape');
    await page.getByTestId('dialog-instance').waitFor({ state: 'detached' });
    await page.context().close();
  },
  testMs,
);

test(
  '[U17] a page asks nobody but its server for anything, and its policy allows nothing else',
  async () => {
    const response = await fetch(`${stage.house.url()}/`);
    expect(response.headers.get('content-security-policy')).toBe(contentSecurityPolicy);
    const { page, troubles, strangers } = await stage.open('');
    for (const hash of hashes) await visit(page, hash);
    await untilShown(page, 'Overwrite');
    expect(strangers).toEqual([]);
    expect(troubles).toEqual([]);
    // The watch works: what is asked of another place is seen, and refused.
    await page.evaluate(() => fetch('http://other.invalid/').catch(() => {}));
    await until('the refusal was told', () =>
      troubles.some((text) => text.includes('Content Security Policy')),
    );
    await page.context().close();
  },
  testMs,
);
