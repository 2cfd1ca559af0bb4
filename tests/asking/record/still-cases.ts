/**
 * Real programs whose screens look like a question and ask nothing: what is shown is read, logged, edited or
 * over.
 */
import type { RecordingCase, Step } from './case.ts';

/** At a shell, the lines are typed one after the other. */
function atShell(name: string, lines: readonly string[], rest: Partial<RecordingCase> = {}): RecordingCase {
  const typed = lines.flatMap((line): Step[] => [{ settle: 300 }, { keys: `${line}\r` }]);
  return {
    name,
    run: 'bash --norc -i',
    steps: [...typed, { settle: 900 }],
    expected: { asking: false },
    ...rest,
  };
}

function still(name: string, run: string, rest: Partial<RecordingCase> = {}): RecordingCase {
  return { name, run, steps: [{ settle: 1_000 }], expected: { asking: false }, ...rest };
}

const file = (path: string, text: string) => `cat > ${path} <<'END'\n${text}\nEND`;
const script = file(
  'deploy.sh',
  `#!/bin/bash
read -rp "Do you want to proceed? [y/N] " answer
if [ "$answer" = y ]; then echo deploying; fi`,
);
const numbered = `What would you like to do?
  1. Start the service
  2. Stop the service
  3. Quit
Enter your choice [1-3]:`;

export const cases: readonly RecordingCase[] = [
  atShell('still-cat-script', ['cat deploy.sh'], { setup: script }),
  atShell('still-grep-prompts', ['grep -n proceed *.sh', 'grep -rn "Password:" .'], {
    setup: `${script}\necho 'label = "Password:"' > ui.txt`,
  }),
  atShell('still-echoed-question', ['echo "Overwrite the file? (yes/no)"']),
  atShell('still-cat-menu', ['cat menu.txt'], { setup: file('menu.txt', numbered) }),
  atShell('still-answered-before', ['read -p "Continue? [y/N] " x', 'n', 'echo done']),
  atShell('still-password-given', ['read -sp "Password: " x', 'abc', 'echo; echo signed in']),
  atShell('still-typed-not-sent', [], {
    steps: [{ settle: 400 }, { keys: 'rm -ri project? # Are you sure? [y/N]' }, { settle: 900 }],
  }),
  atShell('still-history', ['echo one', 'echo two?', 'history']),
  atShell('still-git-diff', ['git --no-pager diff'], {
    setup: `git init -q . && git config user.name Dev && git config user.email dev@example.org && echo 'echo hi' > a.sh && git add . && git commit -qm a && printf 'read -p "Delete everything? [y/N] " x\\n' >> a.sh`,
  }),
  still('still-less-file', 'less menu.txt', { setup: file('menu.txt', numbered) }),
  still('still-man-page', 'man -P less bash || less /etc/passwd'),
  still('still-vim-editing', 'vim deploy.sh', { setup: script }),
  still('still-nano-editing', 'nano deploy.sh', { setup: script }),
  still('still-python-repl', `python3 -q`, {
    steps: [{ settle: 800 }, { keys: 'print("Continue? [y/N]")\r' }, { settle: 900 }],
  }),
  still('still-node-repl', 'node', {
    steps: [{ settle: 900 }, { keys: '"Which one? 1) a 2) b"\r' }, { settle: 900 }],
  }),
  still('still-sqlite', 'sqlite3', {
    steps: [{ settle: 800 }, { keys: "select 'Are you sure?';\r" }, { settle: 900 }],
  }),
  still('still-redis-cli', 'redis-cli -p 24109', { steps: [{ settle: 1_000 }] }),
  still('still-http-server', 'python3 -m http.server 24108 --bind 127.0.0.1'),
  still('still-tail-log', 'tail -f app.log', {
    setup: file(
      'app.log',
      '[info] starting\n[warn] config missing, use defaults?\n[info] Do you want to enable telemetry (y/n): skipped\n[info] listening',
    ),
  }),
  still('still-watch', 'watch -t -n 60 cat menu.txt', { setup: file('menu.txt', numbered) }),
  still(
    'still-progress-bar',
    `bash -c 'for i in 1 2 3 4 5 6; do printf "\\rDownloading... %d0%% [%-10s] ETA 0:1%d " $i "######" $i; sleep 0.2; done; sleep 30'`,
  ),
  still(
    'still-build-log',
    `bash -c 'echo "> tsc -p ."; echo "src/a.ts(3,1): error TS2304: Cannot find name x. Did you mean y?"; echo "Found 1 error. Watching for file changes."; sleep 30'`,
  ),
  still(
    'still-waiting',
    `bash -c 'echo "Waiting for the server to be ready? This may take a minute..."; sleep 30'`,
  ),
  still(
    'still-npm-list',
    `bash -c 'printf "Available scripts:\\n  1) build\\n  2) test\\n  3) lint\\n\\nRun one of them with: npm run <name>\\n"; sleep 30'`,
  ),
  still(
    'still-faq',
    `bash -c 'printf "FAQ\\n\\n1. How do I install it?\\n   Run make install.\\n2. Can I remove it?\\n   Yes: run make clean.\\n"; exec bash --norc -i'`,
  ),
  still(
    'still-markdown-tasks',
    `bash -c 'printf "Plan:\\n  [x] read the code\\n  [ ] write the tests\\n  [ ] ask for review?\\n\\nNext I will write the tests.\\n"; sleep 30'`,
  ),
  still('still-apt-list', 'bash -c "apt list bash coreutils 2>/dev/null; sleep 30"'),
  still(
    'still-test-run',
    `bash -c 'printf "ok 1 - asks: Continue? [y/N]\\nok 2 - reads a password:\\n# pass 2\\n"; exec bash --norc -i'`,
  ),
  still('still-help', 'bash -c "rm --help; sleep 30"', { rows: 40 }),
  atShell('still-ls-numbers', ['ls -1'], { setup: `touch '1) yes' '2) no' 'choose?'` }),
  atShell('still-error-usage', ['read -x', 'git bogus']),
  atShell('still-comment-question', ['# shall we go on? (y/n)', 'true']),
  still(
    'still-python-server',
    `python3 -c 'import time; print("Press CTRL+C to quit"); print("Really? It is up."); time.sleep(30)'`,
  ),
];
