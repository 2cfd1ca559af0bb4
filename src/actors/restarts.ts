/**
 * Whether what died may come back, and when.
 *
 * OTP's restart intensity as a pure function: more than `max` restarts inside `withinMs` means
 * the fault is not the child's, so the supervisor gives up and lets its own supervisor decide.
 */
export interface RestartPolicy {
  readonly restart: 'always' | 'on-failure' | 'never';
  readonly max: number;
  readonly withinMs: number;
  /** Waits before the first, second, … restart inside the window; the last one repeats. */
  readonly backoffMs: readonly number[];
}

export type Exit = 'normal' | 'failed';

export type Verdict =
  | { readonly do: 'restart'; readonly afterMs: number; readonly history: readonly number[] }
  | { readonly do: 'forget' }
  | { readonly do: 'give-up'; readonly history: readonly number[] };

/** A death and the restarts before it. */
export interface Death {
  readonly history: readonly number[];
  readonly exit: Exit;
  readonly at: number;
}

export function judge(policy: RestartPolicy, { history, exit, at }: Death): Verdict {
  if (policy.restart === 'never') return { do: 'forget' };
  if (policy.restart === 'on-failure' && exit === 'normal') return { do: 'forget' };
  const recent = history.filter((t) => at - t < policy.withinMs);
  if (recent.length >= policy.max) return { do: 'give-up', history: recent };
  const step = Math.min(recent.length, policy.backoffMs.length - 1);
  return { do: 'restart', afterMs: policy.backoffMs[step] ?? 0, history: [...recent, at] };
}
