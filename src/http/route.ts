/**
 * What a route is: its place, who may use it, what it takes and gives, and what it does.
 *
 * A route without a role cannot be written down. Authorisation, the metrics and the OpenAPI document read the
 * same table that the router does.
 */
import { type Static, type TSchema, t } from 'elysia';
import type { Caller, Role } from '../access.ts';
import type { Seen } from './seen.ts';

/** `open`: for whoever can reach the server. */
export type RouteRole = Role | 'open';

export type Method = 'GET' | 'POST' | 'PUT' | 'DELETE';

export interface Answer {
  readonly description: string;
  /** Null: no body, or one that is not JSON; then `contentType` says which. */
  readonly schema: TSchema | null;
  readonly contentType?: string;
}

export interface Asked<Params, Query, Body> {
  readonly params: Params;
  readonly query: Query;
  readonly body: Body;
  readonly request: Request;
  readonly caller: Caller;
  /** What the audit log will say of it. */
  readonly seen: Seen;
}

export interface RouteSpec<Query extends TSchema, Body extends TSchema> {
  readonly method: Method;
  /** `:name` is a parameter, `*` the rest of the path. */
  readonly path: string;
  readonly role: RouteRole;
  readonly tag: string;
  readonly summary: string;
  readonly query?: Query;
  readonly body?: Body;
  /** How the body is read; JSON when absent. `stream`: by the route itself, from the request. */
  readonly takes?: 'json' | 'text' | 'optional-json' | 'stream';
  /** Content types of the body; those of JSON when absent. */
  readonly accepts?: { readonly pattern: RegExp; readonly said: string };
  /** By status; the first is the usual one. */
  readonly answers: Readonly<Record<number, Answer>>;
  /** A value is answered as JSON with the first status. */
  run(asked: Asked<Record<string, string>, Static<Query>, Static<Body>>): unknown;
}

/** The same with the types forgotten, as the table holds it. */
export type Route = RouteSpec<TSchema, TSchema>;

export const route = <Query extends TSchema = TSchema, Body extends TSchema = TSchema>(
  spec: RouteSpec<Query, Body>,
): Route => spec as unknown as Route;

export const json = (description: string, schema: TSchema): Answer => ({ description, schema });

/** Objects take what they name and nothing else, so that a typing error is told and not swallowed. */
export const strict = <P extends Record<string, TSchema>>(properties: P) =>
  t.Object(properties, { additionalProperties: false });

export const notEmpty = (text: string | undefined): text is string => text !== undefined && text !== '';

type Whole = ReturnType<typeof t.Integer>;

/** TypeBox's own: Elysia's also takes text for a number, and says so in every schema. */
export const integer = (options: Parameters<typeof t.Integer>[0] = {}): Whole =>
  (t.Integer(options) as unknown as { readonly anyOf: readonly [TSchema, Whole] }).anyOf[1];
