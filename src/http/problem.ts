/**
 * Problem documents (RFC 9457): what every error of every route looks like. `code` is stable, `detail` is for
 * people.
 */

import { Failure, type FailureCode, type FieldFault, failures } from '../failure.ts';
import { withoutTokens } from '../redact.ts';

export interface Problem {
  readonly status: number;
  readonly code: string;
  readonly title: string;
  readonly detail: string;
  readonly faults?: readonly FieldFault[];
  readonly headers?: Readonly<Record<string, string>>;
}

export function problemResponse(problem: Problem, path: string): Response {
  const { status, code, title, detail, faults, headers } = problem;
  const type = `urn:agentic-sandbox:problem:${code}`;
  const body = { type, title, status, detail, code, instance: path, ...(faults ? { faults } : {}) };
  // What was asked for is named; a token that was typed in its place is not said back.
  return new Response(withoutTokens(JSON.stringify(body)), {
    status,
    headers: { 'content-type': 'application/problem+json', 'cache-control': 'no-store', ...headers },
  });
}

export const problem = (code: FailureCode, detail: string, faults?: readonly FieldFault[]): Problem => {
  const { http, title } = failures[code];
  return { status: http, code, title, detail, ...(faults ? { faults } : {}) };
};

/** A failure is told as it is; a bug is not told, only that there is one. */
export function problemOf(thrown: unknown): Problem {
  if (isDiskFull(thrown)) {
    const told = problem(
      'busy',
      'the disk of the server is full; make room there, then look what came of it',
    );
    return { ...told, headers: { 'retry-after': '30' } };
  }
  if (!(thrown instanceof Failure)) {
    return {
      status: 500,
      code: 'bug',
      title: 'This is a bug of the server',
      detail: "It is in the server's log; trying again may help.",
    };
  }
  const told = problem(thrown.code, thrown.message, thrown.faults);
  if (thrown.code === 'unauthenticated') return { ...told, headers: { 'www-authenticate': 'Bearer' } };
  if (!failures[thrown.code].retry) return told;
  return { ...told, headers: { 'retry-after': String(thrown.retryAfterSeconds ?? 2) } };
}

const isDiskFull = (thrown: unknown): boolean =>
  ['ENOSPC', 'EDQUOT', 'SQLITE_FULL'].includes((thrown as { readonly code?: string } | null)?.code ?? '');
