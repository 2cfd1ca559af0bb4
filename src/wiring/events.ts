/** The feed of everything durable that happened, for SSE and the dashboard. */
import type { Change, Fleet } from '../actors/fleet.ts';
import { rfc3339 } from '../clock.ts';
import type { EventDesk } from '../desk.ts';
import type { FeedEntry, Journal, JournalEntry } from '../journal.ts';
import type { EventView } from '../views.ts';

/** The field's words for what monitors follow; the rest is `<kind>.<event>`. */
const words: Readonly<Record<string, string>> = {
  'agent born': 'agent.created',
  'agent link.up': 'agent.connected',
  'agent link.lost': 'agent.disconnected',
  'agent remove': 'agent.removed',
  'hitl born': 'hitl.opened',
  'hitl answer': 'hitl.answering',
  'hitl xstate.done.actor.deliver': 'hitl.answered',
  'hitl xstate.error.actor.deliver': 'hitl.undeliverable',
  'hitl alarm.rang': 'hitl.expired',
  'hitl withdraw': 'hitl.withdrawn',
  'hitl supersede': 'hitl.superseded',
  'instance born': 'instance.created',
  'instance runtime.exited': 'instance.crashed',
  'instance crashes.exceeded': 'instance.crash_looping',
  'session born': 'session.created',
  'session xstate.done.actor.launch': 'session.started',
  'session xstate.error.actor.launch': 'session.failed',
  'session session.exited': 'session.ended',
  'session session.missing': 'session.lost',
  'task born': 'task.submitted',
};

function typeOf({ kind, event }: JournalEntry): string {
  const known = words[`${kind} ${event.type}`];
  if (known) return known;
  const plain = event.type.replace(/^xstate\.(done|error)\.actor\./, (_, how) =>
    how === 'done' ? '' : 'failed_',
  );
  const own = plain.startsWith(`${kind}.`) ? plain.slice(kind.length + 1) : plain;
  return `${kind}.${own
    .replaceAll('.', '_')
    .replace(/([A-Z])/g, '_$1')
    .toLowerCase()}`;
}

const viewOf = (cursor: number, entry: JournalEntry, view: unknown): EventView => ({
  id: cursor,
  actor: entry.actor,
  kind: entry.kind,
  event_type: typeOf(entry),
  timestamp: rfc3339(entry.at),
  data: view,
});

/** `decorate` adds to a view what is observed beside its actor. */
export function eventDesk(
  fleet: Fleet,
  journal: Journal,
  decorate: (kind: string, view: unknown) => unknown,
): EventDesk {
  const shown = ({ cursor, entry, view }: Change) => viewOf(cursor, entry, decorate(entry.kind, view));
  return {
    async read(after, limit) {
      const entries: readonly FeedEntry[] = await journal.feed(after, limit);
      // The past is told with the newest view: the last event of an actor is the one that counts.
      return entries.map((entry) =>
        viewOf(entry.cursor, entry, decorate(entry.kind, fleet.view(entry.actor))),
      );
    },
    cursor: () => journal.cursor(),
    watch: (listener) => fleet.watch((change) => listener(shown(change))),
  };
}
