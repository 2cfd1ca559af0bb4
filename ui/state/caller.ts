/**
 * Who looks at the page, as far as the server knows, so that nothing is offered that it would refuse. It
 * judges every call itself: this only spares a reader buttons that cannot work.
 */
import { call } from '../wire/api.ts';
import { cell, connection, useCell } from './store.ts';

const roles = ['viewer', 'operator', 'admin'] as const;
export type Role = (typeof roles)[number];

export interface Caller {
  readonly name: string;
  readonly role: Role;
  readonly via: string;
}

/** Null: it is not known yet. */
export const caller = cell<Caller | null>(null);

/** Called once: asks whenever the link is live anew, for a server may have been told otherwise meanwhile. */
export function learnCaller(): void {
  let was = connection.get().link;
  connection.watch(() => {
    const { link } = connection.get();
    if (link === 'live' && was !== 'live') void ask();
    was = link;
  });
  void ask();
}

async function ask(): Promise<void> {
  try {
    caller.set(await call<Caller>('whoami'));
  } catch {
    // A 401 has its own dialog; whoever was known stays so until the link is back.
  }
}

export const mayAs = (who: Caller | null, least: Role): boolean =>
  who !== null && roles.indexOf(who.role) >= roles.indexOf(least);

export function useMay(least: Role): boolean {
  return mayAs(useCell(caller), least);
}
