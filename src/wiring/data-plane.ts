/** What the data plane tells the house, and what the house tells the data plane when an actor has changed. */
import type { Change } from '../actors/fleet.ts';
import type { Told } from '../actors/port.ts';
import type { AgentId, SessionId } from '../ids.ts';
import type { TerminalListener } from '../terminal.ts';
import { voided } from './credentials.ts';
import { type House, sessionOf } from './house.ts';
import { asked, questionChanged } from './questions.ts';

/**
 * A session that has ended stays open while somebody watches, up to so long, and looked at so often; its
 * recording stays on disk.
 */
const LINGER_MS = 30_000;
const LINGER_LOOK_MS = 2_000;

export function terminalListener(house: () => House): TerminalListener {
  const linkOf = (session: SessionId) => {
    const agent = sessionOf(house(), session)?.agent;
    return agent === undefined ? null : (house().links.get(agent as AgentId) ?? null);
  };
  return {
    reply(session, bytes) {
      // A program that asks its terminal while the link is down asks again, or its answer is of no use any
      // more.
      linkOf(session)
        ?.type(session, bytes, { key: null })
        .catch(() => {});
    },
    asking: (session, question) => asked(house(), session, question),
    recorded(session, offset) {
      linkOf(session)?.ackOutput(session, offset, false);
      house().signals.tell(`recorded:${session}`);
    },
    recordingFailed(session, reason) {
      const { log, fleet, clock } = house();
      log.error('terminal not recorded; the session goes on and the gap will show', { session, reason });
      fleet.note(`session:${session}`, { type: 'recording.failed', at: clock.now(), reason } as Told);
    },
  };
}

/** Wakes who waits for an actor, and settles what hangs on it. */
export function changed(house: House, { entry, view }: Change): void {
  const { fleet, signals, clock, log, asked: screens } = house;
  signals.tell(`changed:${entry.actor}`);
  if (entry.event.type === 'crashes.exceeded') {
    const cure = 'look at its log, then POST /api/v1/instances/{name}/reset';
    log.error('an instance crashes too often; it waits for you', {
      ...entry.event,
      actor: entry.actor,
      cure,
    });
  }
  if (entry.kind === 'hitl')
    questionChanged(house, view as { state: string; session_id: string; hitl_id: string });
  if (entry.kind !== 'session' || fleet.isLive(entry.actor)) return;
  const session = entry.actor.slice('session:'.length) as SessionId;
  screens.delete(session);
  voided(house, session);
  signals.tell(`recorded:${session}`);
  signals.tell(`ended:${session}`);
  linger(house, session, clock.now() + LINGER_MS);
}

function linger(house: House, session: SessionId, until: number): void {
  const { fleet, terminals, clock } = house;
  clock.setTimeout(() => {
    if (fleet.isLive(`session:${session}`)) return;
    if (terminals.find(session)?.isWatched && clock.now() < until) return linger(house, session, until);
    terminals.release(session);
  }, LINGER_LOOK_MS);
}
