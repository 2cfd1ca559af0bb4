/** Programs of an ordinary Debian that ask on a line. */
import type { RecordingCase } from './case.ts';

const repository = `git init -q -b main . && git config user.name Dev && git config user.email dev@example.org &&
  printf 'one\\ntwo\\n' > notes.txt && git add . && git commit -q -m first && printf 'one\\ntwo\\nthree\\n' > notes.txt && touch scratch.log build.tmp`;

export const cases: readonly RecordingCase[] = [
  {
    name: 'git-add-patch', setup: repository, run: 'git add -p', steps: [{ until: /Stage this hunk/ }],
    expected: { asking: true, kind: 'choice', question: 'Stage this hunk' },
  },
  {
    name: 'git-clean-interactive', setup: repository, run: 'git clean -i', steps: [{ until: /What now>/ }],
    expected: { asking: true, kind: 'choice', question: 'What now', options: 6 },
  },
  {
    name: 'rm-interactive', setup: 'echo keep > notes.txt', run: 'rm -i notes.txt', steps: [{ until: /remove/ }],
    expected: { asking: true, kind: 'confirm', question: "remove regular file 'notes.txt'?", options: 2 },
  },
];
