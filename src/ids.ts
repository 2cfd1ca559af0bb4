/** The only door to randomness and to new ids. */
type Brand<T extends string> = string & { readonly __id: T };

/** An instance's name, which is also its agent's id: `[a-z][a-z0-9-]{1,62}`. */
export type AgentId = Brand<'agent'>;
export type SessionId = Brand<'session'>;
export type TaskId = Brand<'task'>;
export type HitlId = Brand<'hitl'>;

export const instanceNamePattern = /^[a-z][a-z0-9-]{1,62}$/;
/** A task's id may be the caller's own: one path segment, no dots at the start, at most 64 characters. */
export const taskIdPattern = /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/;

/** UUIDv7 (RFC 9562): sorts by the time it was made. */
export const newId = <T extends string>(): T => Bun.randomUUIDv7() as T;

/** 256 bits for tokens and secrets, base64url. */
export const newSecret = (): string =>
  Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString('base64url');

/** A number in [0, 1), for jitter only. */
export const random = (): number => Math.random();

/** Of a certificate: 126 random bits, so positive and never short. */
export function newSerial(): Uint8Array {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return bytes;
}
