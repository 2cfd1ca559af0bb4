/**
 * A scenario: what the scripted model says, written as JSON and checked before it is used.
 *
 * A rule is chosen by the newest thing the user said; its turns are then taken one after the other, a turn
 * for each answer the conversation already holds since then. So a model has no memory of its own: a request
 * that is sent again, or after a restart, gets the same answer.
 */
export interface Scenario {
  /** The key that must be presented; null: any. */
  readonly key: string | null;
  /** Answers requests that offer no tools (titles, summaries); null: the rules answer them too. */
  readonly aside: string | null;
  readonly rules: readonly Rule[];
}

export interface Rule {
  /** A regular expression over the newest text of the user. */
  readonly user: RegExp;
  readonly turns: readonly Turn[];
}

export interface Turn {
  readonly say: string | null;
  readonly use: readonly ToolUse[];
  readonly delayMs: number;
  /** Between the pieces of a streamed text. */
  readonly paceMs: number;
  readonly error: { readonly status: number; readonly type: string; readonly message: string } | null;
  /** Says what it has to say and then never ends the message. */
  readonly hang: boolean;
}

export interface ToolUse {
  readonly tool: string;
  readonly input: Readonly<Record<string, unknown>>;
}

type Fields = Readonly<Record<string, unknown>>;

class Wrong extends Error {
  constructor(path: string, why: string) {
    super(`scenario: ${path} ${why}`);
    this.name = 'Wrong';
  }
}

/** Throws an Error that names the field. */
export function readScenario(value: unknown): Scenario {
  const top = fields(value, 'the scenario', ['about', 'key', 'aside', 'rules']);
  optionalText(top, 'about', 'about');
  const rules = list(top['rules'], 'rules').map((one, i) => rule(one, `rules[${i}]`));
  if (rules.length === 0) throw new Wrong('rules', 'is empty; give at least one rule');
  return { key: optionalText(top, 'key', 'key'), aside: optionalText(top, 'aside', 'aside'), rules };
}

function rule(value: unknown, path: string): Rule {
  const one = fields(value, path, ['user', 'turns']);
  const pattern = text(one['user'], `${path}.user`);
  const turns = list(one['turns'], `${path}.turns`).map((turn, i) => readTurn(turn, `${path}.turns[${i}]`));
  if (turns.length === 0) throw new Wrong(`${path}.turns`, 'is empty; give at least one turn');
  try {
    return { user: new RegExp(pattern, 's'), turns };
  } catch {
    throw new Wrong(`${path}.user`, `is no regular expression: ${pattern}`);
  }
}

function readTurn(value: unknown, path: string): Turn {
  const one = fields(value, path, ['say', 'use', 'delay_ms', 'pace_ms', 'error', 'hang']);
  const use =
    one['use'] === undefined
      ? []
      : list(one['use'], `${path}.use`).map((u, i) => readUse(u, `${path}.use[${i}]`));
  const say = optionalText(one, 'say', `${path}.say`);
  const error = one['error'] === undefined ? null : readError(one['error'], `${path}.error`);
  const hang = one['hang'] === true;
  if (say === null && use.length === 0 && error === null && !hang)
    throw new Wrong(path, 'does nothing; give say, use, error or hang');
  return {
    say,
    use,
    error,
    hang,
    delayMs: wait(one['delay_ms'], `${path}.delay_ms`),
    paceMs: wait(one['pace_ms'], `${path}.pace_ms`),
  };
}

function readUse(value: unknown, path: string): ToolUse {
  const one = fields(value, path, ['tool', 'input']);
  return { tool: text(one['tool'], `${path}.tool`), input: object(one['input'], `${path}.input`) };
}

function readError(value: unknown, path: string) {
  const one = fields(value, path, ['status', 'type', 'message']);
  const status = one['status'];
  if (typeof status !== 'number' || status < 400 || status > 599)
    throw new Wrong(`${path}.status`, 'must be from 400 to 599');
  return {
    status,
    type: text(one['type'], `${path}.type`),
    message: text(one['message'], `${path}.message`),
  };
}

function object(value: unknown, path: string): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new Wrong(path, 'must be an object');
  return value as Fields;
}

function fields(value: unknown, path: string, known: readonly string[]): Fields {
  const given = object(value, path);
  const strange = Object.keys(given).find((name) => !known.includes(name));
  if (strange !== undefined)
    throw new Wrong(path, `has an unknown field ${strange}; known: ${known.join(', ')}`);
  return given;
}

function list(value: unknown, path: string): readonly unknown[] {
  if (!Array.isArray(value)) throw new Wrong(path, 'must be a list');
  return value;
}

function text(value: unknown, path: string): string {
  if (typeof value !== 'string' || value === '') throw new Wrong(path, 'must be a text');
  return value;
}

const optionalText = (from: Fields, name: string, path: string): string | null =>
  from[name] === undefined || from[name] === null ? null : text(from[name], path);

function wait(value: unknown, path: string): number {
  if (value === undefined) return 0;
  if (typeof value !== 'number' || !(value >= 0 && value <= 600_000))
    throw new Wrong(path, 'must be from 0 to 600000');
  return value;
}
