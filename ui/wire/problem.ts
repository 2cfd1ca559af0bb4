/**
 * Trouble that the API told us, or that reaching it gave us, and what a person can do about it.
 *
 * Keeps the server's own words: `detail` is always shown. `remedy` adds the next step; it never replaces
 * them.
 */
export interface FieldFault {
  /** Dotted, as in `lifecycle.timeout`. */
  readonly path: string;
  readonly message: string;
}

export interface Problem {
  /** HTTP status; 0 when no answer came. */
  readonly status: number;
  readonly code: string;
  readonly title: string;
  readonly detail: string;
  readonly faults: readonly FieldFault[];
}

export class Trouble extends Error {
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(problem.detail || problem.title);
    this.name = 'Trouble';
    this.problem = problem;
  }
}

/** Reads an RFC 9457 document; anything else becomes a problem that says what came instead. */
export function problemFrom(status: number, body: string): Problem {
  const parsed = parseObject(body);
  const text = (key: string) => (typeof parsed[key] === 'string' ? (parsed[key] as string) : '');
  const code = text('code');
  return {
    status,
    code: code || `http-${status}`,
    title: text('title') || `The server answered ${status}`,
    detail: text('detail') || text('message') || (code ? '' : plain(body)),
    faults: Array.isArray(parsed['faults']) ? parsed['faults'].filter(isFault) : [],
  };
}

export function unreachable(cause: unknown): Problem {
  return {
    status: 0,
    code: 'unreachable',
    title: 'The server cannot be reached',
    detail: cause instanceof Error ? cause.message : String(cause),
    faults: [],
  };
}

/** Whatever was thrown, as a problem; a bug of ours is named as one. */
export function problemOf(thrown: unknown): Problem {
  if (thrown instanceof Trouble) return thrown.problem;
  const detail = thrown instanceof Error ? thrown.message : String(thrown);
  return { status: 0, code: 'dashboard', title: 'The dashboard stumbled', detail, faults: [] };
}

const remedies: Readonly<Record<string, string>> = {
  unreachable: 'Is the server running? It is tried again by itself; what you see may be old.',
  unauthenticated: 'Sign in with an operator token. An admin makes one with POST /api/v1/tokens.',
  forbidden: 'Ask an admin for a token with a higher role.',
  'not-found': 'It may have ended or been removed meanwhile. Reload the list.',
  'already-exists': 'Choose another name, or use the one that exists.',
  'wrong-state': 'It has moved on. Look at its present state and try again.',
  'over-quota': 'Wait until something ends, then try again.',
  'agent-gone': 'Start its instance, or wait until the agent reconnects.',
  'runtime-failed': 'Look at the instance and its log, then try again.',
  'journal-away': 'The server cannot store anything just now. Try again in a moment.',
  busy: 'Try again in a moment.',
  'timed-out': 'Try again; if it stays slow, look at the agent.',
  undeliverable: 'Open the terminal and answer there.',
  'staging-failed': 'Check the repository address, the branch and the credentials.',
  'not-implemented': 'Use the host runtime, or make available what the reasons name.',
  dashboard: 'Reload the page. If it comes back, it is a bug worth reporting.',
};

/** The next step, empty when there is none that we know. */
export function remedy(problem: Pick<Problem, 'code' | 'status' | 'faults'>): string {
  if (problem.faults.length > 0) return 'Correct the marked fields.';
  const known = remedies[problem.code];
  if (known) return known;
  return problem.status >= 500 ? 'Try again; the server log has the rest.' : '';
}

function isFault(value: unknown): value is FieldFault {
  return (
    typeof value === 'object' &&
    value !== null &&
    'path' in value &&
    typeof value.path === 'string' &&
    'message' in value &&
    typeof value.message === 'string'
  );
}

function parseObject(body: string): Record<string, unknown> {
  try {
    const parsed: unknown = JSON.parse(body);
    return typeof parsed === 'object' && parsed !== null ? (parsed as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

function plain(body: string): string {
  return body
    .replace(/<[^>]*>/g, ' ')
    .replace(/\s+/g, ' ')
    .trim()
    .slice(0, 300);
}
