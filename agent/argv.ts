/** What is really run for a command: always an argument list, never a line for a shell. */
import { userInfo } from 'node:os';
import { basename } from 'node:path';
import type { CommandRequest } from '../proto/gen/agent_pb.ts';

const shells = new Set(['sh', 'bash', 'dash', 'zsh', 'fish', 'ksh']);

/** A command of the earlier system: run Claude Code on what `args[0]` says as JSON. */
const CLAUDE_TASK = '__claude_task__';

/** Throws an Error that says what is missing. */
export function argvOf({ command, args, allocatePty, runAs }: CommandRequest): string[] {
  if (command === '') throw new Error('there is no command');
  if (command === CLAUDE_TASK) return claudeTask(args[0] ?? '');
  const isLogin = allocatePty && args.length === 0 && shells.has(basename(command));
  const argv = isLogin ? [command, '-l'] : [command, ...args];
  if (runAs === '' || runAs === userInfo().username) return argv;
  return ['sudo', '-n', '-u', runAs, '--', ...argv];
}

function claudeTask(json: string): string[] {
  let task: Record<string, unknown>;
  try {
    task = JSON.parse(json) as Record<string, unknown>;
  } catch {
    throw new Error(`${CLAUDE_TASK}: its first argument is not JSON`);
  }
  const text = (name: string) => (typeof task[name] === 'string' ? (task[name] as string) : '');
  if (text('prompt') === '') throw new Error(`${CLAUDE_TASK}: prompt is missing`);
  const tools = Array.isArray(task['allowed_tools']) ? task['allowed_tools'].join(',') : '';
  const flag = (name: string, value: string) => (value === '' ? [] : [name, value]);
  return [
    'claude',
    '--print',
    '--dangerously-skip-permissions',
    '--output-format',
    'stream-json',
    '--verbose',
    ...flag('--session-id', text('session_id')),
    ...flag('--model', text('model')),
    ...flag('--mcp-config', text('mcp_config')),
    ...flag('--allowedTools', tools),
    '--',
    text('prompt'),
  ];
}
