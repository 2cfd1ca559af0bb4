/** Actors as they are and as they were, for whoever looks into them. */
import type { Fleet } from '../actors/fleet.ts';
import { machines } from '../actors/machines.ts';
import { differences, type StateAt, stateAt } from '../actors/replay.ts';
import { rfc3339 } from '../clock.ts';
import type { ActorDesk } from '../desk.ts';
import { Failure } from '../failure.ts';
import type { ActorRecord, FeedEntry, Journal } from '../journal.ts';
import type { ActorEntryView, ActorView } from '../views.ts';

const PAGE = 1_000;
/** Folding longer lives than this would hold up everybody else. */
const ENTRIES_MAX = 100_000;

export function actorDesk(fleet: Fleet, journal: Journal): ActorDesk {
  const recordOf = async (actor: string): Promise<ActorRecord> => {
    const record = await journal.record(actor);
    if (!record) throw new Failure('not-found', `there is no actor "${actor}"; see GET /api/v1/actors`);
    return record;
  };
  const at = async (actor: string, seq: number): Promise<{ entry: FeedEntry; state: StateAt }> => {
    const { kind, seq: newest } = await recordOf(actor);
    if (seq > newest) {
      throw new Failure(
        'not-found',
        `${actor} has entries from 1 to ${newest}, and none with the seq ${seq}`,
      );
    }
    const entries = await historyUpTo(journal, actor, seq);
    const entry = entries.at(-1);
    if (entry?.seq !== seq) throw new Failure('not-found', `${actor} has no entry with the seq ${seq}`);
    return { entry, state: stateAt(machines[kind], entries) };
  };
  return {
    async list(query) {
      const { before } = query;
      if (before !== undefined && !(await journal.record(before))) {
        const cure = 'give what `next` was in the last answer';
        throw new Failure('bad-input', `before "${before}" is no actor; ${cure}`);
      }
      const records = await journal.records(query);
      return records.map((record) => viewOf(record, fleet));
    },
    async find(actor) {
      const record = await recordOf(actor);
      const { snapshot, spec } = record;
      const children = fleet.children(actor).map(({ id }) => id);
      return { ...viewOf(record, fleet), spec, snapshot, children };
    },
    async log(actor, from, limit) {
      await recordOf(actor);
      return (await journal.history(actor, from, limit)).map(entryView);
    },
    async at(actor, seq) {
      const { entry, state } = await at(actor, seq);
      return { id: actor, entry: entryView(entry), ...state };
    },
    async diff(actor, from, to) {
      const { seq: newest } = await recordOf(actor);
      const end = to ?? newest;
      const start = from ?? Math.max(1, end - 1);
      if (start > end) {
        throw new Failure('bad-input', `from ${start} is after to ${end}; give the earlier one as from`);
      }
      const [before, after] = [await at(actor, start), await at(actor, end)];
      const bare = ({ view: _, seq: __, ...rest }: StateAt) => rest;
      return {
        id: actor,
        from: start,
        to: end,
        entry: entryView(after.entry),
        changes: differences(bare(before.state), bare(after.state)),
      };
    },
  };
}

const entryView = ({ seq, cursor, at, event }: FeedEntry): ActorEntryView => ({
  seq,
  cursor,
  timestamp: rfc3339(at),
  type: event.type,
  event,
});

function viewOf(record: ActorRecord, fleet: Fleet): ActorView {
  const { actor, kind, version, seq, live, archived = false, spec, snapshot } = record;
  const { parent, restart } = spec as { readonly parent: string | null; readonly restart: string };
  const { value, ports } = snapshot as { readonly value: unknown; readonly ports?: object };
  return {
    id: actor,
    kind,
    parent,
    restart,
    state: value,
    version,
    seq,
    live,
    archived,
    ports: Object.keys(ports ?? {}),
    // Of one that ended long ago the view is not in memory; its snapshot says the same.
    view: fleet.view(actor),
  };
}

async function historyUpTo(journal: Journal, actor: string, seq: number): Promise<FeedEntry[]> {
  if (seq > ENTRIES_MAX) {
    throw new Failure('too-large', `the state at ${seq} is not recomputed here; use bun run actor:verify`);
  }
  const entries: FeedEntry[] = [];
  for (let from = 1; from <= seq; ) {
    const page = await journal.history(actor, from, Math.min(PAGE, seq - from + 1));
    if (page.length === 0) break;
    entries.push(...page);
    from = (page.at(-1)?.seq ?? from) + 1;
  }
  return entries;
}
