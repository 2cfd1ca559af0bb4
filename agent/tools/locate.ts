/**
 * Finds a tool's program: told by name in the environment, else on PATH. Looks at the file system and nothing
 * else.
 */
import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, isAbsolute, join } from 'node:path';
import { claude } from './claude.ts';
import { command } from './command.ts';
import type { Tool } from './tool.ts';

const tools: Readonly<Record<Tool['name'], Tool>> = { claude, command };

export const toolNamed = (name: Tool['name']): Tool => tools[name];

export type Located =
  | { readonly found: true; readonly program: string }
  /** Says where was looked and what to do. */
  | { readonly found: false; readonly reason: string };

export interface Places {
  readonly env: { readonly [name: string]: string | undefined };
  /** Directories to search after PATH, such as a project's own `node_modules/.bin`. */
  readonly path?: readonly string[];
}

/** `claude` → AGENTIC_CLAUDE_BIN, then PATH, then `path`. */
export function locateTool(name: string, { env, path = [] }: Places): Located {
  const variable = `AGENTIC_${name.toUpperCase().replace(/[^A-Z0-9]/g, '_')}_BIN`;
  const told = env[variable];
  if (told !== undefined && told !== '') {
    if (isAbsolute(told) && isProgram(told)) return { found: true, program: told };
    return {
      found: false,
      reason: `${variable} is ${told}, which is not an absolute path of a program; correct or unset it`,
    };
  }
  const dirs = [...(env['PATH'] ?? '').split(delimiter), ...path].filter(isAbsolute);
  const program = dirs.map((dir) => join(dir, name)).find(isProgram);
  if (program !== undefined) return { found: true, program };
  const install = name === 'claude' ? 'install it (npm install -g @anthropic-ai/claude-code)' : 'install it';
  return {
    found: false,
    reason: `${name} is not on the PATH (${dirs.join(delimiter)}); ${install}, or set ${variable} to its path`,
  };
}

function isProgram(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false; // Not there, or not ours to run: the same answer.
  }
}
