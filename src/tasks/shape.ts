/**
 * Shapes of input: each reads an unknown value, collects every fault with its path and its cure,
 * and tells the same rule as JSON Schema. One source for both, so that they cannot disagree.
 *
 * `null` and an absent key are the same thing. Reading what was read gives it again.
 */
import type { FieldFault } from '../failure.ts';

export type JsonSchema = { readonly [key: string]: unknown };

/** What a shape returns when it has added a fault. */
export const bad: unique symbol = Symbol('bad');

export interface Shape<T> {
  read(value: unknown, path: string, faults: FieldFault[]): T | typeof bad;
  readonly schema: JsonSchema;
  /** True when the key may be absent. */
  readonly optional: boolean;
}

export type Out<S> = S extends Shape<infer T> ? T : never;

export function fault(faults: FieldFault[], path: string, message: string): typeof bad {
  faults.push({ path, message });
  return bad;
}

const absent = (value: unknown): boolean => value === undefined || value === null;

/** What a person would call the value, for messages; never the value itself, which may be a secret. */
export function kindOf(value: unknown): string {
  if (absent(value)) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'object' ? 'a map' : `a ${typeof value}`;
}

export const isMap = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

export interface TextRule {
  readonly what: string;
  readonly max: number;
  readonly pattern?: RegExp;
  /** Says what is wrong and what to write instead, or null when it is well. */
  readonly check?: (value: string) => string | null;
  readonly example?: string;
  readonly empty?: boolean;
  readonly lines?: boolean;
}

const controls = /[\u0000-\u001f\u007f]/;
const controlsButLines = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/;

export function text(rule: TextRule): Shape<string> {
  const example = rule.example === undefined ? '' : `, as in "${rule.example}"`;
  const judge = (value: string): string | null => {
    if (value.trim() === '' && !rule.empty) return `is empty: give ${rule.what}${example}`;
    if (value.length > rule.max) return `is ${value.length} characters long; at most ${rule.max} are taken`;
    if ((rule.lines ? controlsButLines : controls).test(value))
      return 'holds control characters; remove them';
    if (rule.pattern && !rule.pattern.test(value)) return `does not fit: give ${rule.what}${example}`;
    return rule.check?.(value) ?? null;
  };
  return {
    optional: false,
    schema: {
      type: 'string',
      maxLength: rule.max,
      description: rule.what,
      ...(rule.empty ? {} : { minLength: 1 }),
      ...(rule.pattern ? { pattern: rule.pattern.source } : {}),
      ...(rule.example === undefined ? {} : { examples: [rule.example] }),
    },
    read(value, path, faults) {
      if (absent(value)) return fault(faults, path, `is missing: give ${rule.what}${example}`);
      if (typeof value !== 'string') {
        return fault(faults, path, `must be text (${rule.what}${example}), not ${kindOf(value)}; quote it`);
      }
      const wrong = judge(value);
      return wrong === null ? value : fault(faults, path, wrong);
    },
  };
}

/** Text that YAML is likely to read as a number or a boolean, such as a label's value or a version. */
export function scalar(rule: TextRule): Shape<string> {
  const inner = text(rule);
  return {
    ...inner,
    read: (value, path, faults) =>
      inner.read(
        typeof value === 'number' || typeof value === 'boolean' ? String(value) : value,
        path,
        faults,
      ),
  };
}

export function integer(rule: { what: string; min: number; max: number }): Shape<number> {
  return {
    optional: false,
    schema: { type: 'integer', minimum: rule.min, maximum: rule.max, description: rule.what },
    read(value, path, faults) {
      const well =
        typeof value === 'number' && Number.isInteger(value) && value >= rule.min && value <= rule.max;
      return well ? value : fault(faults, path, `must be a whole number from ${rule.min} to ${rule.max}`);
    },
  };
}

export const truth = (what: string): Shape<boolean> => ({
  optional: false,
  schema: { type: 'boolean', description: what },
  read: (value, path, faults) =>
    typeof value === 'boolean' ? value : fault(faults, path, `must be true or false, not ${kindOf(value)}`),
});

/** `later` maps words that we know and do not take yet to what to do instead. */
export function oneOf<const W extends string>(
  what: string,
  words: readonly W[],
  later: Readonly<Record<string, string>> = {},
): Shape<W> {
  return {
    optional: false,
    schema: { enum: words, description: what },
    read(value, path, faults) {
      const found = words.find((word) => word === value);
      if (found !== undefined) return found;
      const cure = typeof value === 'string' && Object.hasOwn(later, value) ? later[value] : undefined;
      if (cure !== undefined) return fault(faults, path, `"${value}" ${cure}`);
      const meant = typeof value === 'string' ? nearest(value, words) : null;
      const hint = meant === null ? '' : `; did you mean "${meant}"?`;
      return fault(faults, path, `must be one of ${words.map((w) => `"${w}"`).join(', ')}${hint}`);
    },
  };
}

export function optional<T, F>(shape: Shape<T>, fallback: F): Shape<T | F> {
  const nullable =
    'type' in shape.schema && typeof shape.schema['type'] === 'string'
      ? { ...shape.schema, type: [shape.schema['type'], 'null'] }
      : { anyOf: [shape.schema, { type: 'null' }] };
  return {
    optional: true,
    schema: fallback === undefined ? nullable : { ...nullable, default: fallback },
    read: (value, path, faults) => (absent(value) ? fallback : shape.read(value, path, faults)),
  };
}

export function list<T>(item: Shape<T>, max: number, what: string): Shape<T[]> {
  return {
    optional: false,
    schema: { type: 'array', items: item.schema, maxItems: max, description: what },
    read(value, path, faults) {
      if (!Array.isArray(value)) return fault(faults, path, `must be a list (${what}), not ${kindOf(value)}`);
      if (value.length > max)
        return fault(faults, path, `has ${value.length} items; at most ${max} are taken`);
      const read = value.map((one, index): T | typeof bad => item.read(one, `${path}[${index}]`, faults));
      const well = read.filter((one) => one !== bad) as T[];
      return well.length === read.length ? well : bad;
    },
  };
}

export function mapOf<T>(
  key: RegExp,
  item: Shape<T>,
  rule: { what: string; max: number },
): Shape<Record<string, T>> {
  return {
    optional: false,
    schema: {
      type: 'object',
      additionalProperties: item.schema,
      propertyNames: { pattern: key.source },
      maxProperties: rule.max,
      description: rule.what,
    },
    read(value, path, faults) {
      if (!isMap(value)) return fault(faults, path, `must be a map (${rule.what}), not ${kindOf(value)}`);
      const entries = Object.entries(value);
      if (entries.length > rule.max)
        return fault(faults, path, `has ${entries.length} keys; at most ${rule.max}`);
      let well = true;
      const read = entries.map(([name, one]): [string, T] | typeof bad => {
        const at = `${path}.${printable(name)}`;
        const named =
          key.test(name) || fault(faults, at, `is no name for ${rule.what}; it must match ${key.source}`);
        const got = item.read(one, at, faults);
        if (named === bad || got === bad) well = false;
        return got === bad ? bad : [name, got];
      });
      // fromEntries defines own properties, so a key such as `__proto__` is only a key.
      return well ? Object.fromEntries(read.filter((entry) => entry !== bad)) : bad;
    },
  };
}

export type Fields = Readonly<Record<string, Shape<unknown>>>;
export type Read<F extends Fields> = { -readonly [K in keyof F]: Out<F[K]> };

/** `elsewhere` tells where a key that people write here belongs, e.g. `{ prompt: 'agent.prompt' }`. */
export function object<F extends Fields>(
  what: string,
  fields: F,
  elsewhere: Readonly<Record<string, string>> = {},
): Shape<Read<F>> {
  const names = Object.keys(fields);
  return {
    optional: false,
    schema: {
      type: 'object',
      description: what,
      additionalProperties: false,
      properties: Object.fromEntries(names.map((name) => [name, fields[name]?.schema])),
      ...required(fields),
    },
    read(value, path, faults) {
      if (!isMap(value)) return fault(faults, path, `must be a map (${what}), not ${kindOf(value)}`);
      for (const key of Object.keys(value)) {
        if (!Object.hasOwn(fields, key))
          fault(faults, join(path, printable(key)), unknownKey(key, names, elsewhere));
      }
      const read = names.map((name): [string, unknown] => {
        const given = Object.hasOwn(value, name) ? value[name] : undefined;
        return [name, fields[name]?.read(given, join(path, name), faults)];
      });
      return read.some(([, one]) => one === bad) ? bad : (Object.fromEntries(read) as Read<F>);
    },
  };
}

function required(fields: Fields): { required?: string[] } {
  const names = Object.keys(fields).filter((name) => fields[name]?.optional === false);
  return names.length > 0 ? { required: names } : {};
}

export const join = (path: string, key: string): string => (path === '' ? key : `${path}.${key}`);

/** A hostile key in an error message is cut and made visible. */
const printable = (key: string): string =>
  JSON.stringify(key.slice(0, 64)).slice(1, -1) + (key.length > 64 ? '…' : '');

function unknownKey(
  key: string,
  names: readonly string[],
  elsewhere: Readonly<Record<string, string>>,
): string {
  const place = Object.hasOwn(elsewhere, key) ? elsewhere[key] : undefined;
  if (place !== undefined) return `is not known here; write it as ${place}`;
  const meant = nearest(key, names);
  return meant === null
    ? `is not known here; known are ${names.join(', ')}`
    : `is not known here; did you mean "${meant}"?`;
}

/** The word that is meant, allowing for case, `-` for `_`, and two slips of the finger. */
export function nearest(word: string, words: readonly string[]): string | null {
  if (word.length > 64) return null;
  const plain = (w: string): string => w.toLowerCase().replace(/[-_\s]/g, '');
  const ranked = words
    .map((candidate) => ({ candidate, far: distance(plain(word), plain(candidate)) }))
    .sort((a, b) => a.far - b.far);
  const best = ranked[0];
  return best !== undefined && best.far <= Math.min(2, Math.floor(word.length / 2)) ? best.candidate : null;
}

function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const swap = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(swap, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
