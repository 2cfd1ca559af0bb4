/**
 * Copies a journal into another, whatever their kinds, and compares the two afterwards.
 *
 * Entries keep their cursors, so whoever follows the feed goes on from where they were. The first journal is
 * left as it is. A copy that was interrupted goes on where it ended when it is run again.
 */
import { isDeepStrictEqual } from 'node:util';
import { Failure } from '../failure.ts';
import type { ActorRecord, FeedEntry, Journal } from '../journal.ts';

const PAGE = 1_000;
/** Entries, or records, of one batch. */
const BATCH = 250;

export interface Moved {
  readonly entries: number;
  readonly records: number;
}

/** `say` is told how far it is. Throws Failure('wrong-state') when `to` holds something else. */
export async function moveJournal(from: Journal, to: Journal, say: (done: Moved) => void): Promise<Moved> {
  const [present, archived] = [await actorsOf(from, false), await actorsOf(from, true)];
  const actors = [...archived, ...present];
  const has = await to.cursor();
  let entries = 0;
  for await (const page of entriesOf(from, actors)) {
    const fresh = page.filter(({ cursor }) => cursor > has);
    const last = page.at(-1);
    if (has > 0 && last && page.some(({ cursor }) => cursor === has)) await checkSame(to, page, has);
    entries += page.length;
    for (let at = 0; at < fresh.length; at += BATCH) await copy(to, fresh.slice(at, at + BATCH));
    say({ entries, records: 0 });
  }
  if (has > entries) throw new Failure('wrong-state', `${strange}: it has more than the first`);
  for (let at = 0; at < actors.length; at += BATCH) {
    const part = await Promise.all(actors.slice(at, at + BATCH).map((actor) => from.record(actor)));
    await to.append({ entries: [], records: part.flatMap(asBefore) });
    say({ entries, records: Math.min(actors.length, at + BATCH) });
  }
  // One after the other, so that they lie there in the same order.
  for (const actor of archived) await to.archive([actor]);
  return { entries, records: actors.length };
}

/** Everything that differs, in words; nothing when the two are the same. */
export async function compareJournals(from: Journal, to: Journal): Promise<readonly string[]> {
  const wrong: string[] = [];
  const actors: string[] = [];
  for (const archived of [false, true]) {
    const [mine, theirs] = [await actorsOf(from, archived), await actorsOf(to, archived)];
    if (!isDeepStrictEqual(mine, theirs))
      wrong.push(`the ${archived ? 'archived ' : ''}actors, or their order, are not the same`);
    actors.push(...mine);
  }
  if ((await from.cursor()) !== (await to.cursor())) wrong.push('the newest cursor is not the same');
  for (const actor of actors) {
    const records = await Promise.all([from.record(actor), to.record(actor)]);
    if (!isDeepStrictEqual(records[0], records[1])) wrong.push(`${actor}: its record is not the same`);
    for (let seq = 1; ; ) {
      const [mine, theirs] = await Promise.all([
        from.history(actor, seq, PAGE),
        to.history(actor, seq, PAGE),
      ]);
      if (!isDeepStrictEqual(mine, theirs))
        wrong.push(`${actor}: its entries from ${seq} on are not the same`);
      if (mine.length < PAGE) break;
      seq = (mine.at(-1)?.seq ?? seq) + 1;
    }
  }
  return wrong;
}

/** As it was before it was put away. */
const asBefore = (record: ActorRecord | null): ActorRecord[] => {
  if (!record) return [];
  const { archived: _, ...rest } = record;
  return [rest];
};

const strange = 'the second journal holds something else; name an empty one';

async function copy(to: Journal, part: readonly FeedEntry[]): Promise<void> {
  const entries = part.map(({ cursor: _, ...entry }) => entry);
  const cursor = await to.append({ entries, records: [] });
  if (cursor !== part.at(-1)?.cursor) throw new Failure('wrong-state', `${strange} (cursor ${cursor})`);
}

/** What an earlier copy left must be the beginning of this one. */
async function checkSame(to: Journal, page: readonly FeedEntry[], has: number): Promise<void> {
  const mine = page.find(({ cursor }) => cursor === has);
  const [theirs] = mine ? await to.history(mine.actor, mine.seq, 1) : [];
  if (!isDeepStrictEqual(mine, theirs)) throw new Failure('wrong-state', strange);
}

/** Oldest first. */
async function actorsOf(journal: Journal, archived: boolean): Promise<string[]> {
  const found: string[] = [];
  for (let before: string | undefined; ; ) {
    const query = { archived, limit: PAGE, ...(before === undefined ? {} : { before }) };
    const page = await journal.records(query);
    found.push(...page.map(({ actor }) => actor));
    before = page.at(-1)?.actor;
    if (page.length < PAGE || before === undefined) return found.reverse();
  }
}

/**
 * In the order of their cursors; what the feed does not reach back to, or lacks because it is archived, is
 * taken from the actors' histories.
 */
async function* entriesOf(journal: Journal, actors: readonly string[]): AsyncGenerator<readonly FeedEntry[]> {
  const first = await unbrokenFrom(journal);
  if (first > 1) yield* olderThan(journal, actors, first);
  if (Number.isFinite(first)) yield* feedOf(journal, first - 1);
}

async function* feedOf(journal: Journal, from: number): AsyncGenerator<readonly FeedEntry[]> {
  for (let after = from; ; ) {
    const page = await journal.feed(after, PAGE);
    if (page.length > 0) yield page;
    if (page.length < PAGE) return;
    after = page.at(-1)?.cursor ?? after;
  }
}

/** The cursor from which on the feed has everything; infinite when it lacks the newest. */
async function unbrokenFrom(journal: Journal): Promise<number> {
  let first = Number.POSITIVE_INFINITY;
  let last = 0;
  for await (const page of feedOf(journal, 0)) {
    for (const { cursor } of page) {
      if (cursor !== last + 1 || last === 0) first = cursor;
      last = cursor;
    }
  }
  return last === (await journal.cursor()) ? first : Number.POSITIVE_INFINITY;
}

async function* olderThan(
  journal: Journal,
  actors: readonly string[],
  below: number,
): AsyncGenerator<readonly FeedEntry[]> {
  const places: { readonly cursor: number; readonly actor: string; readonly seq: number }[] = [];
  for (const actor of actors) {
    for (let seq = 1; ; ) {
      const page = await journal.history(actor, seq, PAGE);
      for (const { cursor, seq } of page) if (cursor < below) places.push({ cursor, actor, seq });
      if (page.length < PAGE || (page.at(-1)?.cursor ?? below) >= below) break;
      seq = (page.at(-1)?.seq ?? seq) + 1;
    }
  }
  places.sort((a, b) => a.cursor - b.cursor);
  for (let at = 0; at < places.length; at += PAGE) {
    const part = places.slice(at, at + PAGE);
    const found = await Promise.all(part.map(({ actor, seq }) => journal.history(actor, seq, 1)));
    yield found.flat();
  }
}
