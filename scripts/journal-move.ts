/**
 * `bun run journal:move FROM TO`: copies a journal into another and compares them.
 *
 * FROM and TO: the path of a SQLite file, or an address of Redis (redis://…, rediss://…, unix:///…) with
 * `#prefix` at its end when that is not `agentic`. The server that uses either must be stopped.
 */
import { existsSync, realpathSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { systemClock } from '../src/clock.ts';
import { type JournalPlace, redisPrefix } from '../src/config.ts';
import { Failure } from '../src/failure.ts';
import { compareJournals, moveJournal } from '../src/journal/move.ts';
import { isEmpty, openJournal, placeName } from '../src/journal/open.ts';
import type { Journal } from '../src/journal.ts';
import { jsonLog } from '../src/log.ts';

const usage = `Usage: bun run journal:move FROM TO

Copies the journal FROM into the empty journal TO and compares the two. FROM stays as it is. A copy that was
interrupted goes on when it is run again. End the servers that use them first.

  FROM, TO   the path of a SQLite file (.run/journal.db), or redis://[user:password@]host[:port][/database],
             rediss://…, unix:///path, each with #PREFIX at its end when the prefix is not agentic
`;

const clock = systemClock;
const log = jsonLog({ clock, level: 'warn', write: (line) => void process.stderr.write(line) });

function placeOf(text: string): JournalPlace {
  if (!/^(redis|rediss|unix):/.test(text)) return { kind: 'sqlite', path: text };
  const at = text.indexOf('#');
  const url = at < 0 ? text : text.slice(0, at);
  return { kind: 'redis', url, prefix: at < 0 ? 'agentic' : redisPrefix(text.slice(at + 1), text.slice(at)) };
}

/** Throws Failure for what cannot be meant, before anything is opened for writing. */
async function checkPlaces(from: JournalPlace, to: JournalPlace): Promise<void> {
  if (wholeName(from) === wholeName(to))
    throw new Failure('bad-input', `FROM and TO are the same journal, ${placeName(from)}`);
  if (to.kind === 'sqlite' && statSync(to.path, { throwIfNoEntry: false })?.isDirectory())
    throw new Failure('bad-input', `${to.path} is a directory; name a file in it, such as journal.db`);
  if (await isEmpty(from))
    throw new Failure('bad-input', `FROM, ${placeName(from)}, holds nothing; is the name right?`);
}

/** The same for every spelling of one file. */
function wholeName(place: JournalPlace): string {
  if (place.kind === 'redis') return placeName(place);
  return existsSync(place.path) ? realpathSync(place.path) : resolve(place.path);
}

const open = (place: JournalPlace): Promise<Journal> =>
  openJournal(place, {
    clock,
    log,
    onLost: (why) => {
      process.stderr.write(`${why.message}\n`);
      process.exit(1);
    },
  });

async function main(words: readonly string[]): Promise<number> {
  if (words.some((word) => word === '-h' || word === '--help')) {
    process.stdout.write(usage);
    return 0;
  }
  const [first, second, ...more] = words;
  if (first === undefined || second === undefined || more.length > 0) {
    process.stderr.write(usage);
    return 64;
  }
  const [source, target] = [placeOf(first), placeOf(second)];
  if (source.kind === 'sqlite' && !existsSync(source.path)) {
    process.stderr.write(`${source.path}: there is no such file\n`);
    return 66;
  }
  await checkPlaces(source, target);
  const from = await open(source);
  try {
    const to = await open(target);
    try {
      const done = await moveJournal(from, to, ({ entries, records }) => {
        process.stderr.write(`\r${entries} entries, ${records} actors copied`);
      });
      process.stderr.write('\ncomparing…\n');
      const wrong = await compareJournals(from, to);
      for (const line of wrong) process.stdout.write(`${line}\n`);
      process.stdout.write(
        `${done.entries} entries and ${done.records} actors copied, ${wrong.length} differences\n`,
      );
      return wrong.length === 0 ? 0 : 1;
    } finally {
      await to.close();
    }
  } finally {
    await from.close();
  }
}

main(process.argv.slice(2)).then(
  (code) => process.exit(code),
  (thrown: unknown) => {
    const text = thrown instanceof Failure ? thrown.message : String((thrown as Error)?.stack ?? thrown);
    process.stderr.write(`\n${text}\n`);
    process.exit(1);
  },
);
