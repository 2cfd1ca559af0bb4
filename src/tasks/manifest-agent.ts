/** The `agent` part of a manifest, and its shorthand `claude`. */
import type { FieldFault } from '../failure.ts';
import { instanceNamePattern } from '../ids.ts';
import {
  bad,
  fault,
  integer,
  isMap,
  kindOf,
  list,
  mapOf,
  object,
  oneOf,
  optional,
  type Shape,
  text,
  truth,
} from './shape.ts';

const PROMPT_CHARS_MAX = 200_000;
export const envNamePattern = /^[A-Za-z_][A-Za-z0-9_]{0,127}$/;

const later = 'is not in this version; use "claude", or "command" with its command line';

const toolShape = oneOf('the tool that does the work', ['claude', 'command'], {
  codex: later,
  opencode: later,
});
const modeShape = oneOf('with a terminal that people can watch and answer, or without', [
  'interactive',
  'headless',
]);

const promptText = text({
  what: 'what the tool is to do',
  max: PROMPT_CHARS_MAX,
  lines: true,
  example: 'Fix the tests',
});
const argText = text({ what: 'an argument', max: 32_768, empty: true, lines: true });

const mcpShape: Shape<string | Record<string, unknown>> = {
  optional: false,
  schema: {
    type: ['string', 'object'],
    description: 'an MCP configuration: a path in the repository, or itself',
  },
  read(value, path, faults) {
    if (isMap(value)) return value;
    if (typeof value !== 'string')
      return fault(faults, path, `must be a path or a map, not ${kindOf(value)}`);
    if (value.trimStart().startsWith('{')) {
      try {
        const config: unknown = JSON.parse(value);
        if (isMap(config)) return config;
      } catch {
        // Said below, without the text, which may hold tokens.
      }
      return fault(faults, path, 'starts like JSON and is not; give a path or a map');
    }
    const wrong =
      value === '' || value.startsWith('-') || value.startsWith('/') || value.split('/').includes('..');
    return wrong ? fault(faults, path, 'must be a path inside the repository') : value;
  },
};

const fields = {
  tool: optional(toolShape, 'claude' as const),
  mode: optional(modeShape, 'headless' as const),
  prompt: optional(promptText, null),
  model: optional(
    text({ what: "the model's name", max: 128, pattern: /^[A-Za-z0-9][^\s]*$/, example: 'sonnet' }),
    null,
  ),
  max_turns: optional(integer({ what: 'turns after which the tool must stop', min: 1, max: 10_000 }), null),
  allowed_tools: optional(
    list(
      text({ what: 'a tool the model may use unasked', max: 256, pattern: /^[^-]/, example: 'Bash(git *)' }),
      200,
      'tools',
    ),
    [] as string[],
  ),
  skip_permissions: optional(truth('let the tool act without asking anyone'), null),
  mcp_config: optional(mcpShape, null),
  finish: optional(
    oneOf('interactive: over when the tool rests, or when somebody ends it', ['idle', 'exit']),
    'idle' as const,
  ),
  command: optional(text({ what: 'a program', max: 4096, pattern: /^[^-]/, example: 'bash' }), null),
  args: optional(list(argText, 1000, 'arguments, one each'), [] as string[]),
  env: optional(
    mapOf(envNamePattern, text({ what: 'a value', max: 32_768, empty: true, lines: true }), {
      what: 'the environment',
      max: 200,
    }),
    {} as Record<string, string>,
  ),
  instance: optional(
    text({
      what: 'the name of an existing instance',
      max: 63,
      pattern: instanceNamePattern,
      example: 'agent-1',
    }),
    null,
  ),
  runtime: optional(oneOf('where a new instance lives', ['host', 'container', 'vm']), null),
};

const plainShape = object('the tool and its orders', fields, {
  headless: 'mode: headless',
  output_format: 'nothing (the output is always read as a stream)',
  name: 'metadata.name',
  timeout: 'lifecycle.timeout',
  allowedTools: 'allowed_tools',
  maxTurns: 'max_turns',
  cmd: 'command',
});

/** Headless there is nobody to ask, so the default is to act; interactive there is. */
export const agentShape = {
  optional: false,
  schema: plainShape.schema,
  read(value: unknown, path: string, faults: FieldFault[]) {
    if (value === undefined || value === null) {
      return fault(faults, path, 'is missing: give agent: {tool, prompt}, or the shorthand claude: {prompt}');
    }
    const read = plainShape.read(value, path, faults);
    return read === bad
      ? bad
      : { ...read, skip_permissions: read.skip_permissions ?? read.mode === 'headless' };
  },
};

/** What the tool that was chosen needs; said even when other fields are wrong. */
export function agentFaults(agent: unknown, faults: FieldFault[]): void {
  if (!isMap(agent)) return;
  const tool = agent['tool'] ?? 'claude';
  const given = (name: string): boolean => agent[name] !== undefined && agent[name] !== null;
  if (tool === 'claude') {
    if (!given('prompt')) fault(faults, 'agent.prompt', 'is missing: say what the tool is to do');
    if (given('command'))
      fault(faults, 'agent.command', 'belongs to tool: command; remove it or set agent.tool');
    if (Array.isArray(agent['args']) && agent['args'].length > 0) {
      fault(faults, 'agent.args', 'belongs to tool: command; remove it or set agent.tool');
    }
  }
  if (tool === 'command') {
    if (!given('command'))
      fault(faults, 'agent.command', 'is missing: give the program to run, as in "bash"');
    for (const name of ['model', 'max_turns', 'mcp_config']) {
      if (given(name)) fault(faults, `agent.${name}`, 'means nothing to tool: command; remove it');
    }
  }
}

/** The earlier system's words. `output_format` may be said, but only one is read. */
export function fromClaude(claude: unknown, faults: FieldFault[]): unknown {
  if (!isMap(claude)) return claude;
  const { headless, output_format: format, ...rest } = claude;
  if (headless !== undefined && headless !== null && typeof headless !== 'boolean') {
    fault(faults, 'claude.headless', `must be true or false, not ${kindOf(headless)}`);
  }
  if (format !== undefined && format !== null && format !== 'stream-json') {
    fault(faults, 'claude.output_format', 'must be "stream-json": progress is read from it; or leave it out');
  }
  if (rest['tool'] !== undefined)
    fault(faults, 'claude.tool', 'is not known here; use agent: to choose a tool');
  return { mode: headless === false ? 'interactive' : 'headless', ...rest, tool: 'claude' };
}
