/**
 * Any program. It tells nothing of itself but its output and its exit code; its arguments are never a shell
 * line.
 */
import { noProgress, type Tool } from './tool.ts';

export const command: Tool = {
  name: 'command',
  launch: ({ wish, env, home }) => ({
    command: wish.command ?? '',
    args: wish.args,
    // The prompt of such a task is the program's to read, if it wants one.
    env: { ...(wish.prompt === null ? {} : { TASK_PROMPT: wish.prompt }), ...wish.env, ...env, HOME: home },
    stdin: null,
    pty: wish.mode === 'interactive',
    files: [],
    follow: { tells: { by: 'stdout' }, transcripts: null, done: 'exit', farewell: null },
  }),
  reader: () => ({ feed: () => false, progress: () => noProgress }),
  outcome: (exitCode) => {
    if (exitCode === 0) return { ok: true, summary: null };
    const reason =
      exitCode === null
        ? 'the command ended without an exit code'
        : `the command exited with code ${exitCode}`;
    return { ok: false, reason, summary: null };
  },
};
