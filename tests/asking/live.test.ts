/** Questions of live programs on a real PTY, answered with the keys that the readers name. */
import { afterEach, expect, test } from 'bun:test';
import { Terminal } from '@xterm/headless';
import { type Running, run } from '../../agent/process.ts';
import { readQuestion } from '../../src/terminal/asking.ts';
import { keysFor } from '../../src/terminal/asking-keys.ts';
import { screenFacts } from '../../src/terminal/asking-screen.ts';
import type { AskedOnScreen } from '../../src/terminal.ts';

let running: Running | null = null;
afterEach(async () => {
  await running?.end(0);
});

interface Live {
  readonly terminal: Terminal;
  /** What is asked once the screen has come to rest. */
  asked(): Promise<AskedOnScreen>;
  /** Everything it says after the answer. */
  answer(question: AskedOnScreen, with_: { text?: string; option?: string }): Promise<string>;
}

function live(...argv: string[]): Live {
  const terminal = new Terminal({ cols: 80, rows: 24, allowProposedApi: true });
  let last = performance.now();
  let said = '';
  running = run(
    {
      argv,
      cwd: '/',
      env: { PATH: process.env['PATH'] ?? '', PS1: '$ ', HOME: '/' },
      pty: { cols: 80, rows: 24, term: 'xterm-256color' },
    },
    (_, bytes) => {
      said += Buffer.from(bytes).toString('utf8');
      last = performance.now();
      terminal.write(bytes);
    },
  );
  const rest = async () => {
    while (performance.now() - last < 250) await Bun.sleep(20);
    await new Promise<void>((resolve) => terminal.write('', resolve));
  };
  return {
    terminal,
    async asked() {
      const deadline = performance.now() + 10_000;
      for (;;) {
        await rest();
        const question = readQuestion(screenFacts(terminal, null));
        if (question) return question;
        if (performance.now() > deadline) throw new Error(`nothing is asked: ${said}`);
        await Bun.sleep(50);
      }
    },
    async answer(question, given) {
      const keys = keysFor(question, given);
      if (keys === null) throw new Error('there is no such answer');
      said = '';
      await running?.write(Buffer.from(keys));
      await running?.ended;
      return said;
    },
  };
}

test('[Q3] the keys of an option pick that option: a numbered menu', async () => {
  const program = live('bash', '-c', 'select x in red green blue; do echo "picked $x"; break; done');
  const question = await program.asked();
  expect(question.options.map(({ label }) => label)).toEqual(['red', 'green', 'blue']);
  expect(await program.answer(question, { option: question.options[1]?.id ?? '' })).toContain('picked green');
});

test('[Q3] the keys of an option pick that option: yes or no', async () => {
  const program = live('bash', '-c', 'read -p "Remove it? [y/N] " x; echo "got <$x>"');
  const question = await program.asked();
  expect(question.kind).toBe('confirm');
  expect(await program.answer(question, { option: 'yes' })).toContain('got <y>');
});

test('[Q3] free text is typed and entered', async () => {
  const program = live('python3', '-c', 'x = input("What is your name? "); print("hello", x)');
  const question = await program.asked();
  expect(question).toMatchObject({ kind: 'text', options: [] });
  expect(await program.answer(question, { text: 'Ada Lovelace' })).toContain('hello Ada Lovelace');
});

test('[Q4] a password is asked as a secret', async () => {
  const program = live('bash', '-c', 'read -sp "Password: " x; echo; echo -n "$x" | wc -c');
  const question = await program.asked();
  expect(question.kind).toBe('secret');
  expect(await program.answer(question, { text: 'sesame' })).toContain('6');
});

test('[Q5] the fingerprint stays while something ticks beside the question, and changes with the question', async () => {
  const program = live(
    'bash',
    '-c',
    'while :; do printf "\\033[1;1H\\033[Kelapsed: %ss\\033[5;1HProceed? [y/N] " $SECONDS; read -t 1 -n 1 x && break; done; printf "\\033[5;1H\\033[KOverwrite? [y/N] "; read y',
  );
  const first = await program.asked();
  await Bun.sleep(1_300); // The clock on the screen goes on; that is the fact that is waited for.
  expect((await program.asked()).fingerprint).toBe(first.fingerprint);
  await running?.write(Buffer.from('y'));
  const deadline = performance.now() + 5_000;
  let next = first;
  while (next.fingerprint === first.fingerprint && performance.now() < deadline) next = await program.asked();
  expect(next.question).toContain('Overwrite?');
  expect(next.fingerprint).not.toBe(first.fingerprint);
}, 20_000);
