/**
 * What a model's tokens cost. The table is data: prices.json here, which says of when it is, and a file of
 * the operator's in the same form that comes before it. A model that no row matches has no price, which is
 * not the same as nothing: where a budget is in dollars it is not asked at all.
 */
import { Failure } from '../failure.ts';
import type { Tokens } from '../spending.ts';
import builtIn from './prices.json' with { type: 'json' };

const MILLION = 1_000_000;
const ROWS_MAX = 1_000;

interface Row {
  readonly match: RegExp;
  readonly price: Price;
  /** For a whole request whose prompt has more tokens than `over`, from caches or not. */
  readonly long: { readonly over: number; readonly price: Price } | null;
}

/** US dollars for a million tokens of each kind. */
type Price = Tokens;

export interface Prices {
  /** Of one request, by the prompt it had. Null: no price is known. */
  costOf(model: string, tokens: Tokens): number | null;
  has(model: string): boolean;
  /** Of when the table that is built in is: `YYYY-MM`. */
  readonly asOf: string;
}

const bad = (why: string) => new Failure('bad-input', `the table of prices (AGENTIC_MODEL_PRICES) ${why}`);

function amount(row: Cells, name: string, fallback?: number): number {
  const value = row[name] ?? fallback;
  if (typeof value === 'number' && Number.isFinite(value) && value >= 0) return value;
  throw bad(
    `has no amount "${name}" for ${JSON.stringify(row['match'])}; give US dollars for a million tokens`,
  );
}

type Cells = Readonly<Record<string, unknown>>;

const cellsOf = (value: unknown): Cells =>
  (typeof value === 'object' && value !== null ? value : {}) as Cells;

function priceOf(row: Cells): Price {
  const input = amount(row, 'input');
  // Whoever names no price of a cache pays as if there were none.
  const write = amount(row, 'cache_write', input);
  return {
    input,
    output: amount(row, 'output'),
    cacheRead: amount(row, 'cache_read', input),
    cacheWrite: write,
    cacheWriteLong: amount(row, 'cache_write_long', write),
  };
}

function rowOf(value: unknown): Row {
  const row = cellsOf(value);
  const { match, long } = row;
  if (typeof match !== 'string' || match === '') throw bad('has a row without "match"');
  const pattern = match.split('*').map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'));
  const cells = long === undefined ? null : { match, ...cellsOf(long) };
  return {
    match: new RegExp(`^${pattern.join('.*')}$`),
    price: priceOf(row),
    long: cells && { over: amount(cells, 'over'), price: priceOf(cells) },
  };
}

const priceFor = ({ price, long }: Row, { input, cacheRead, cacheWrite, cacheWriteLong }: Tokens): Price =>
  long && input + cacheRead + cacheWrite + cacheWriteLong > long.over ? long.price : price;

function rowsOf(text: string): Row[] {
  let table: unknown;
  try {
    table = JSON.parse(text);
  } catch {
    throw bad('is not JSON');
  }
  const models = (table as { models?: unknown } | null)?.models;
  if (!Array.isArray(models) || models.length > ROWS_MAX)
    throw bad(`has no list "models" of up to ${ROWS_MAX} rows`);
  return models.map(rowOf);
}

/** `own` is the text of the operator's file. Throws Failure('bad-input') that names the row. */
export function prices(own: string | null): Prices {
  const rows = [...(own === null ? [] : rowsOf(own)), ...builtIn.models.map(rowOf)];
  const find = (model: string): Row | null => rows.find(({ match }) => match.test(model)) ?? null;
  return {
    has: (model) => find(model) !== null,
    asOf: builtIn.as_of,
    costOf(model, tokens) {
      const row = find(model);
      if (!row) return null;
      const price = priceFor(row, tokens);
      const kinds = Object.keys(price) as (keyof Tokens)[];
      return kinds.reduce((sum, kind) => sum + (tokens[kind] * price[kind]) / MILLION, 0);
    },
  };
}
