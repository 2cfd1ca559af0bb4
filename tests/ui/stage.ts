/**
 * A real server with the dashboard of a real browser before it. Every page is watched: what it complains of
 * and what it asks of anybody but the server is told, so that a test can expect nothing of it.
 */
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { type House, openHouse, until } from '../e2e/house.ts';

export const openMs = 90_000;
export const closeMs = 30_000;
export const testMs = 90_000;

/** What a page did that it should not have. */
export interface Watched {
  readonly page: Page;
  /** Errors of scripts and of the console, and what the content security policy refused. */
  readonly troubles: string[];
  /** Requests that left for somewhere else. */
  readonly strangers: string[];
}

export interface Stage {
  readonly house: House;
  readonly open: (hash: string, options?: BrowserContextOptions) => Promise<Watched>;
  /** The same, and waits for nothing. */
  readonly visit: (path: string, options?: BrowserContextOptions) => Promise<Watched>;
  readonly close: () => Promise<void>;
}

export async function openStage(name: string, env: Readonly<Record<string, string>> = {}): Promise<Stage> {
  const program = Bun.which('chromium') ?? Bun.which('chromium-browser') ?? Bun.which('google-chrome');
  if (program === null) throw new Error('no chromium on PATH; install it (Debian: apt-get install chromium)');
  const house = await openHouse(`ui-${name}`, env);
  let browser: Browser;
  try {
    browser = await chromium.launch({
      executablePath: program,
      args: ['--no-sandbox', '--disable-dev-shm-usage'],
    });
  } catch (thrown) {
    await house.close();
    throw thrown;
  }
  const visit = async (path: string, options: BrowserContextOptions = {}): Promise<Watched> => {
    const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
    const watched = watch(await context.newPage(), new URL(house.url()).host);
    await watched.page.goto(`${house.url()}${path}`);
    return watched;
  };
  return {
    house,
    visit,
    async open(hash, options = {}) {
      const watched = await visit(`/${hash}`, options);
      await watched.page.locator('[data-testid=connection][data-state=live]').first().waitFor({
        state: 'attached',
      });
      return watched;
    },
    async close() {
      await browser.close();
      await house.close();
    },
  };
}

function watch(page: Page, host: string): Watched {
  const troubles: string[] = [];
  const strangers: string[] = [];
  page.setDefaultTimeout(30_000);
  page.on('pageerror', (error) => troubles.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error') troubles.push(message.text());
  });
  const isOurs = (url: string): boolean => {
    const { protocol, host: asked } = new URL(url);
    return protocol === 'data:' || protocol === 'blob:' || asked === host;
  };
  page.on('request', (request) => {
    if (!isOurs(request.url())) strangers.push(request.url());
  });
  page.on('websocket', (socket) => {
    if (!isOurs(socket.url())) strangers.push(socket.url());
  });
  return { page, troubles, strangers };
}

export async function agentReady(house: House, id = 'local'): Promise<void> {
  await until(`agent ${id} is ready`, async () => {
    const { agents } = await house.get<{ agents: { id: string; state: string }[] }>('agents');
    return agents.some((agent) => agent.id === id && (agent.state === 'ready' || agent.state === 'busy'));
  });
}

export interface Session {
  readonly session_id: string;
  readonly session_name: string;
  readonly agent_id: string;
}

/** A terminal of the agent that runs a script. */
export function bash(house: House, script: string, agent = 'local'): Promise<Session> {
  return house.post<Session>(`agents/${agent}/sessions`, {
    command: 'bash',
    args: ['--norc', '--noprofile', '-c', script],
    cols: 80,
    rows: 24,
  });
}

/** What the terminal shows, its blank ends left out. */
export async function shown(page: Page): Promise<string> {
  const rows = await page.locator('.xterm-rows > div').allInnerTexts();
  return rows
    .map((row) => row.replaceAll('\u00a0', ' ').trimEnd())
    .join('\n')
    .trimEnd();
}

export async function untilShown(page: Page, text: string): Promise<string> {
  let last = '';
  return until(
    `the terminal shows ${JSON.stringify(text)}`,
    async () => {
      last = await shown(page);
      return last.includes(text) && last;
    },
    { withinMs: 30_000, seen: () => last },
  );
}
