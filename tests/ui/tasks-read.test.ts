/** What a task says and made, read into lines, steps and changes. */
import { describe, expect, test } from 'bun:test';
import type { TaskState, TaskView } from '../../src/views.ts';
import { readDiff } from '../../ui/tasks/diff.ts';
import { logReader, withoutEscapes } from '../../ui/tasks/log-lines.ts';
import { timeline } from '../../ui/tasks/timeline.ts';

describe('a diff', () => {
  test('has its files, their changes and the numbers of their lines', () => {
    const patch = [
      'diff --git a/notes.txt b/notes.txt',
      'index 1..2 100644',
      '--- a/notes.txt',
      '+++ b/notes.txt',
      '@@ -1,3 +1,3 @@ head',
      ' one',
      '-- two',
      '++ two',
      ' three',
      '\\ No newline at end of file',
      'diff --git a/old name.txt b/new name.txt',
      'similarity index 100%',
      'rename from old name.txt',
      'rename to new name.txt',
      'diff --git a/made.txt b/made.txt',
      'new file mode 100644',
      '--- /dev/null',
      '+++ b/made.txt',
      '@@ -0,0 +1 @@',
      '+made',
      'diff --git a/gone.bin b/gone.bin',
      'deleted file mode 100644',
      'Binary files a/gone.bin and /dev/null differ',
      '',
    ].join('\n');
    const files = readDiff(patch);
    expect(files.map(({ path, added, removed }) => ({ path, added, removed }))).toEqual([
      { path: 'notes.txt', added: 1, removed: 1 },
      { path: 'new name.txt', added: 0, removed: 0 },
      { path: 'made.txt', added: 1, removed: 0 },
      { path: 'gone.bin', added: 0, removed: 0 },
    ]);
    expect(files.map(({ change }) => change)).toEqual(['modified', 'renamed', 'added', 'binary']);
    expect(files[0]?.lines.map(({ kind, text, oldLine, newLine }) => [kind, text, oldLine, newLine])).toEqual(
      [
        ['hunk', '@@ -1,3 +1,3 @@ head', null, null],
        ['context', 'one', 1, 1],
        ['removed', '- two', 2, null],
        ['added', '+ two', null, 2],
        ['context', 'three', 3, 3],
        ['note', '\\ No newline at end of file', null, null],
      ],
    );
  });

  test('without git’s own lines is read, too, and what is none is shown as it is', () => {
    const [plain] = readDiff('--- a.txt\n+++ b.txt\n@@ -1 +1 @@\n-a\n+b\n');
    expect(plain).toMatchObject({ path: 'b.txt', added: 1, removed: 1 });
    expect(readDiff('no patch')).toMatchObject([{ lines: [{ kind: 'note', text: 'no patch' }] }]);
    expect(readDiff('')).toEqual([]);
  });
});

describe('a log', () => {
  const said = (...events: [event: string, data: string][]) => {
    const read = logReader();
    return events
      .flatMap(([event, data]) => read({ event, data }))
      .map(({ tone, lead, text }) => [tone, lead, text]);
  };

  test('has whole lines, however its chunks were cut, each stream by itself', () => {
    expect(
      said(['stdout', 'on'], ['stderr', 'bad\n'], ['stdout', 'e\r\ntwo\nthr'], ['stdout', 'ee\n']),
    ).toEqual([
      ['err', '', 'bad'],
      ['out', '', 'one'],
      ['out', '', 'two'],
      ['out', '', 'three'],
    ]);
  });

  test('of a coding agent has its words, its tools and their results', () => {
    const line = (value: unknown): [string, string] => ['stdout', `${JSON.stringify(value)}\n`];
    const lines = said(
      line({ type: 'system', subtype: 'init', model: 'sonnet' }),
      line({ type: 'assistant', message: { content: [{ type: 'text', text: 'I look.' }] } }),
      line({
        type: 'assistant',
        message: { content: [{ type: 'tool_use', name: 'Bash', input: { command: 'ls', timeout: 5 } }] },
      }),
      line({
        type: 'user',
        message: { content: [{ type: 'tool_result', content: [{ type: 'text', text: 'a.txt' }] }] },
      }),
      line({
        type: 'user',
        message: { content: [{ type: 'tool_result', is_error: true, content: 'refused' }] },
      }),
      line({ type: 'stream_event', event: {} }),
      line({ type: 'result', is_error: false, result: 'Done.' }),
    );
    expect(lines).toEqual([
      ['state', 'session', 'sonnet'],
      ['said', '', 'I look.'],
      ['tool', 'Bash', 'ls'],
      ['result', '', 'a.txt'],
      ['fault', '', 'refused'],
      ['end', 'result', 'Done.'],
    ]);
  });

  test('hides nothing that it does not know', () => {
    const strange = '{"type":"of tomorrow","x":1}';
    expect(said(['stdout', `${strange}\n{half\n`])).toEqual([
      ['out', '', strange],
      ['out', '', '{half'],
    ]);
  });

  test('tells its end, its gaps and its questions', () => {
    const lines = said(
      ['state', '{"state":"RUNNING","message":"started"}'],
      ['question', '{"prompt":"Go on?"}'],
      ['gap', '{}'],
      ['error', '{"code":"agent-gone","message":"lost"}'],
      ['completed', '{"state":"COMPLETED","exit_code":0}'],
      ['of tomorrow', 'x'],
    );
    expect(lines).toEqual([
      ['state', 'RUNNING', 'started'],
      ['state', 'asks', 'Go on?'],
      ['fault', 'gap', 'Some output is missing here.'],
      ['fault', 'agent-gone', 'lost'],
      ['end', 'completed', 'state=COMPLETED  exit_code=0'],
    ]);
  });

  test('has no colours and no cursor', () => {
    expect(withoutEscapes('\x1b]8;;http://a\x07\x1b[1;31mred\x1b[0m\x1b[?25l\x07 \x1bMend\ttab')).toBe(
      'red end\ttab',
    );
  });
});

describe('the life of a task', () => {
  const task = (state: TaskState, more: Partial<TaskView> = {}) =>
    ({
      state,
      created_at: 'c',
      state_changed_at: 's',
      started_at: null,
      agent_id: null,
      session_id: null,
      ...more,
    }) as TaskView;
  const phases = (one: TaskView) => timeline(one, new Map()).map(({ state, phase }) => `${state} ${phase}`);

  test('is behind it, here and ahead', () => {
    expect(phases(task('READY'))).toEqual([
      'PENDING past',
      'STAGING past',
      'PROVISIONING past',
      'READY present',
      'RUNNING ahead',
      'COMPLETING ahead',
      'COMPLETED ahead',
    ]);
    expect(phases(task('COMPLETED')).every((one) => one.endsWith('past'))).toBe(true);
  });

  test('that ended early goes as far as it left a trace', () => {
    expect(phases(task('CANCELLED'))).toEqual([
      'PENDING past',
      'STAGING skipped',
      'PROVISIONING skipped',
      'READY skipped',
      'RUNNING skipped',
      'COMPLETING skipped',
      'CANCELLED present',
    ]);
    const ran = phases(task('FAILED', { started_at: 'x', agent_id: 'local', session_id: '1' }));
    expect(ran.slice(3)).toEqual(['READY past', 'RUNNING past', 'COMPLETING skipped', 'FAILED present']);
  });
});
