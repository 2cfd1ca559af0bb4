/**
 * `bun run actor:verify [--json]`: folds every actor's entries, of the living and of those that ended, and
 * compares what comes out with its stored snapshot. Looks only, and may be run beside the server.
 */
import { machines } from '../src/actors/machines.ts';
import { type Difference, verify } from '../src/actors/replay.ts';
import { readConfig } from '../src/config.ts';
import { Failure } from '../src/failure.ts';
import { openReader, placeName } from '../src/journal/open.ts';
import type { JournalReader } from '../src/journal.ts';

const usage = `Usage: bun run actor:verify [--json]

Recomputes the state of every actor from its entries and compares it with the stored one. The journal is that of
AGENTIC_DATA_DIR (.run) or REDIS_URL; its server may be running. Exits with 1 when anything differs, or there is no actor.

  --json   one JSON object at the end: {"actors", "live", "archived", "entries", "differences": [{"actor", "path", "stored", "folded"}]}
`;

const PAGE = 1_000;

interface Found {
  readonly actor: string;
  readonly path: string;
  readonly stored: unknown;
  readonly folded: unknown;
}

interface Sums {
  actors: number;
  live: number;
  archived: number;
  entries: number;
  readonly differences: Found[];
}

async function verifyAll(journal: JournalReader): Promise<Sums> {
  const sums: Sums = { actors: 0, live: 0, archived: 0, entries: 0, differences: [] };
  // An actor that is put away meanwhile is looked at in both places.
  for (const archived of [false, true]) await verifyThose(journal, archived, sums);
  return sums;
}

async function verifyThose(journal: JournalReader, archived: boolean, sums: Sums): Promise<void> {
  for (let before: string | undefined; ; ) {
    const page = await journal.records({
      archived,
      limit: PAGE,
      ...(before === undefined ? {} : { before }),
    });
    for (const record of page) {
      const entries = await historyOf(journal, record.actor, record.seq);
      sums.actors += 1;
      sums.live += record.live ? 1 : 0;
      sums.archived += record.archived ? 1 : 0;
      sums.entries += entries.length;
      const wrong = verify(machines[record.kind], record, entries);
      sums.differences.push(...wrong.map((one) => found(record.actor, one)));
    }
    before = page.at(-1)?.actor;
    if (page.length < PAGE || before === undefined) return;
  }
}

const found = (actor: string, { path, from, to }: Difference): Found => ({
  actor,
  path,
  stored: from,
  folded: to,
});

async function historyOf(journal: JournalReader, actor: string, upTo: number) {
  const entries = [];
  for (let from = 1; from <= upTo; ) {
    const page = await journal.history(actor, from, PAGE);
    if (page.length === 0) break;
    entries.push(...page);
    from = (page.at(-1)?.seq ?? from) + 1;
  }
  return entries;
}

async function main(words: readonly string[]): Promise<number> {
  const strange = words.find((word) => !['--json', '-h', '--help'].includes(word));
  if (strange !== undefined) {
    process.stderr.write(`unknown argument "${strange}"\n\n${usage}`);
    return 64;
  }
  if (words.some((word) => word !== '--json')) {
    process.stdout.write(usage);
    return 0;
  }
  const { journal: place } = readConfig(process.env, process.cwd(), import.meta.dir);
  const journal = await openReader(place);
  try {
    const { actors, live, archived, entries, differences } = await verifyAll(journal);
    if (words.includes('--json')) {
      process.stdout.write(`${JSON.stringify({ actors, live, archived, entries, differences })}\n`);
    } else if (actors > 0) {
      for (const { actor, path, stored, folded } of differences)
        process.stdout.write(
          `${actor}: ${path} is ${JSON.stringify(stored)} and should be ${JSON.stringify(folded)}\n`,
        );
      process.stdout.write(
        `${actors} actors (${live} live, ${archived} archived), ${entries} entries, ${differences.length} differences\n`,
      );
    }
    if (actors > 0) return differences.length === 0 ? 0 : 1;
    process.stderr.write(`the journal (${placeName(place)}) has no actor; is the name right?\n`);
    return 1;
  } finally {
    await journal.close();
  }
}

main(process.argv.slice(2)).then(
  (code) => process.exit(code),
  (thrown: unknown) => {
    const text = thrown instanceof Failure ? thrown.message : String((thrown as Error)?.stack ?? thrown);
    process.stderr.write(`${text}\n`);
    process.exit(1);
  },
);
