/**
 * What the two kinds of WebSocket have in common: who is connected to what, and how their messages are read.
 */
import type { ServerWebSocket } from 'bun';
import type { Caller } from '../access.ts';
import type { Audit } from '../audit.ts';
import type { Clock } from '../clock.ts';
import type { Recall, SessionDesk } from '../desk.ts';
import { Failure } from '../failure.ts';
import type { Log } from '../log.ts';
import type { Role, Terminal } from '../terminal.ts';
import type { HitlView } from '../views.ts';
import type { Seen } from './seen.ts';

/** What a door does with one connection. */
export interface Conversation {
  message(message: string | Buffer): void;
  drained(): void;
  closed(): void;
}

export interface SocketData {
  readonly open: (socket: ServerWebSocket<SocketData>) => Conversation;
  /** Throws a Failure when whoever connected would not be let in any more. */
  readonly admit: () => unknown;
  conversation: Conversation | null;
}

export interface SocketDoor {
  readonly sessions: SessionDesk;
  readonly recall: Recall;
  readonly question: (id: string) => HitlView | null;
  readonly audit: Audit;
  readonly clock: Clock;
  readonly log: Log;
}

export interface Connecting {
  readonly id: string;
  readonly session: string;
  readonly caller: Caller;
  readonly seen: Seen;
  readonly role: Role;
  /** `attach`: replay from here; null for a screen first. */
  readonly from: number | null;
  readonly terminal: Terminal;
}

/** One JSON object; anything else is told as an error. */
export function parsed(message: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(message);
  } catch {
    throw new Failure('bad-input', 'that is not JSON');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new Failure('bad-input', 'that is not a JSON object');
  return value as Record<string, unknown>;
}

export function sizeOf({ cols, rows }: Record<string, unknown>): { cols: number; rows: number } {
  const isSize = (value: unknown): value is number =>
    Number.isInteger(value) && Number(value) >= 1 && Number(value) <= 1_000;
  if (isSize(cols) && isSize(rows)) return { cols, rows };
  throw new Failure('bad-input', 'cols and rows are whole numbers from 1 to 1000');
}
