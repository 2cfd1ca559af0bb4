/**
 * Whether what came is what a route takes, and if not, which field is wrong and what it should be.
 *
 * Bodies are taken as they are; nothing is made to fit. A query is text, so it is read as what the schema
 * asks for.
 */
import { getSchemaValidator, type TSchema } from 'elysia';
import { Failure, type FieldFault } from '../failure.ts';

/** Faults that are told at once. */
const FAULTS_MAX = 20;

/** The part of a JSON Schema that words are found for. */
interface Expected {
  readonly type?: string;
  readonly const?: unknown;
  readonly anyOf?: readonly Expected[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly maxItems?: number;
  readonly pattern?: string;
  readonly properties?: Readonly<Record<string, Expected>>;
}

interface Found {
  readonly path: string;
  readonly message: string;
  readonly schema: Expected;
}

const within = (from: number | undefined, to: number | undefined, unit = ''): string => {
  if (from !== undefined && to !== undefined) return ` from ${from} to ${to}${unit}`;
  if (from !== undefined && from > 0) return ` of at least ${from}${unit}`;
  if (from !== undefined) return ' that is not negative';
  return to === undefined ? '' : ` of at most ${to}${unit}`;
};

function words(expected: Expected): string {
  const { type, anyOf, minimum, maximum, minLength, maxLength, maxItems, pattern } = expected;
  if (anyOf?.every((one) => one.const !== undefined)) {
    return `one of ${anyOf.map((one) => String(one.const)).join(', ')}`;
  }
  if (anyOf) return anyOf.map(words).join(', or ');
  if (type === 'integer') return `a whole number${within(minimum, maximum)}`;
  if (type === 'number') return `a number${within(minimum, maximum)}`;
  if (type === 'boolean') return 'true or false';
  if (type === 'array') return `a list${within(undefined, maxItems, ' items')}`;
  if (type !== 'string') return 'an object';
  return `text${within(minLength, maxLength, ' characters')}${pattern ? `, of the form ${pattern}` : ''}`;
}

function faultOf({ path, message, schema }: Found, where: string): FieldFault {
  const dotted = path.replace(/^\//, '').replaceAll('/', '.') || where;
  if (/unexpected/i.test(message)) return { path: dotted, message: 'is not known here; check its spelling' };
  const missing = /required/i.test(message) ? 'is missing; it ' : '';
  return { path: dotted, message: `${missing}must be ${words(schema)}` };
}

/** Gives back what it was given; throws Failure('bad-input') with a fault for each field. */
export function checking(where: 'query' | 'body', schema: TSchema): (value: unknown) => unknown {
  const validator = getSchemaValidator(schema, { dynamic: true }) as {
    Check(value: unknown): boolean;
    Errors(value: unknown): Iterable<Found>;
  };
  return (value) => {
    if (validator.Check(value)) return value;
    const faults = new Map<string, FieldFault>();
    for (const found of validator.Errors(value)) {
      const fault = faultOf(found, where);
      if (!faults.has(fault.path)) faults.set(fault.path, fault);
      if (faults.size >= FAULTS_MAX) break;
    }
    const all = [...faults.values()];
    const said = all.map(({ path, message }) => `${path} ${message}`).slice(0, 5);
    throw new Failure('bad-input', `the ${where} is not valid: ${said.join('; ')}`, { faults: all });
  };
}

function read(text: string, { type }: Expected): unknown {
  if (type === 'integer' && /^-?\d{1,16}$/.test(text)) return Number(text);
  if (type === 'boolean' && /^(true|1)$/i.test(text)) return true;
  if (type === 'boolean' && /^(false|0)$/i.test(text)) return false;
  return text;
}

/** What the schema names, from the address; a name that is given several times is a list. */
export function queryOf(url: string, schema: TSchema): Record<string, unknown> {
  const given = new URL(url).searchParams;
  const { properties = {} } = schema as Expected;
  return Object.fromEntries(
    Object.entries(properties).flatMap(([name, expected]) => {
      const all = given.getAll(name).map((text) => read(text, expected));
      return all.length === 0 ? [] : [[name, all.length === 1 ? all[0] : all]];
    }),
  );
}
