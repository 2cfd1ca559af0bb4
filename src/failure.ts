/**
 * What can go wrong, as a closed list.
 *
 * A failure is something we expect and a caller can act on. A broken invariant
 * is not a failure: `assert` throws it, the actor dies, its supervisor decides.
 * `http` and `grpc` are the status a door answers with; `retry` says whether the
 * same call may succeed later.
 */
export const failures = {
  'bad-input': { http: 400, grpc: 3, retry: false, title: 'The request is not valid' },
  unauthenticated: { http: 401, grpc: 16, retry: false, title: 'Who are you?' },
  forbidden: { http: 403, grpc: 7, retry: false, title: 'Your role does not allow this' },
  'not-found': { http: 404, grpc: 5, retry: false, title: 'There is no such thing' },
  'already-exists': { http: 409, grpc: 6, retry: false, title: 'That name is taken' },
  'wrong-state': { http: 409, grpc: 9, retry: false, title: 'Not possible in its present state' },
  gone: { http: 410, grpc: 5, retry: false, title: 'This was retired' },
  'too-large': { http: 413, grpc: 8, retry: false, title: 'Too large' },
  unprocessable: { http: 422, grpc: 3, retry: false, title: 'The content is not valid' },
  'over-quota': { http: 429, grpc: 8, retry: true, title: 'Too many' },
  'not-implemented': { http: 501, grpc: 12, retry: false, title: 'This host cannot do that' },
  'agent-gone': { http: 502, grpc: 14, retry: true, title: 'The agent is not connected' },
  'runtime-failed': { http: 502, grpc: 14, retry: true, title: 'The runtime failed' },
  'journal-away': { http: 503, grpc: 14, retry: true, title: 'Nothing can be promised just now' },
  'audit-away': { http: 503, grpc: 14, retry: true, title: 'Nothing can be noted just now' },
  busy: { http: 503, grpc: 14, retry: true, title: 'No capacity just now' },
  'timed-out': { http: 504, grpc: 4, retry: true, title: 'It took too long' },
  undeliverable: { http: 502, grpc: 9, retry: false, title: 'The answer did not take' },
  'staging-failed': { http: 502, grpc: 9, retry: true, title: 'The repository could not be staged' },
  'token-consumed': { http: 409, grpc: 9, retry: false, title: 'That token was used already' },
  'authority-away': { http: 503, grpc: 14, retry: true, title: 'Nobody can sign certificates just now' },
  cancelled: { http: 409, grpc: 1, retry: false, title: 'It was cancelled' },
} as const;

export type FailureCode = keyof typeof failures;

/** Where in the input the trouble is, and how to mend it. `path` is dotted, as in `lifecycle.timeout`. */
export interface FieldFault {
  readonly path: string;
  readonly message: string;
}

/** Plain data, so it fits in context, in a journal and on the wire unchanged. */
export interface FailureInfo {
  readonly code: FailureCode;
  readonly message: string;
  readonly faults?: readonly FieldFault[];
}

/** The same thing as an Error, for code that has to throw across a promise. */
export class Failure extends Error {
  readonly code: FailureCode;
  readonly faults: readonly FieldFault[] | undefined;
  /** Seconds until a retry makes sense; the door sends it as `Retry-After`. */
  retryAfterSeconds: number | undefined;

  constructor(
    code: FailureCode,
    message: string,
    options?: ErrorOptions & { faults?: readonly FieldFault[] },
  ) {
    super(message, options);
    this.name = 'Failure';
    this.code = code;
    this.faults = options?.faults;
  }
}

/** Turns whatever an adapter threw into data; rethrows bugs so a supervisor sees them. */
export function toFailureInfo(thrown: unknown): FailureInfo {
  if (!(thrown instanceof Failure)) throw thrown;
  const { code, message, faults } = thrown;
  return faults ? { code, message, faults } : { code, message };
}
