/**
 * Looks at the whole chain, line by line in bounded memory, and names the first record that is not what was
 * written. What was removed by retention is missing rightly: the chain itself says up to where.
 */
import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { AuditRecord } from '../audit.ts';
import { GENESIS, opened } from './chain.ts';
import { daysOf, type Head, readHead } from './files.ts';

export interface Verdict {
  readonly records: number;
  readonly files: number;
  readonly first: number;
  readonly head: Head;
  /** The first thing that is wrong, in words; null: nothing is. */
  readonly broken: string | null;
}

class Broken extends Error {}

interface Walk {
  records: number;
  first: number;
  head: Head;
  /** What the first record that is left says it follows; retention must have said the same. */
  begins: Head | null;
  retired: Head[];
  /** Hashes of the records that heads speak of, by sequence. */
  found: Map<number, string | null>;
}

/** `sought`: a head that was kept elsewhere, besides the one beside the log. */
export async function verifyAudit(dir: string, sought: Head | null = null): Promise<Verdict> {
  const days = await daysOf(dir);
  const walk: Walk = {
    records: 0,
    first: 0,
    head: { seq: 0, hash: GENESIS },
    begins: null,
    retired: [],
    found: new Map(),
  };
  // Before the records, which a server may add to meanwhile.
  const beside = await readHead(dir);
  for (const known of [beside, sought]) if (known) walk.found.set(known.seq, null);
  let broken: string | null = null;
  try {
    for (const name of days) await verifyFile(join(dir, name), walk);
    checkBeginning(walk);
    checkHead(walk, beside, 'head.json');
    checkHead(walk, sought, 'the given head');
  } catch (thrown) {
    if (!(thrown instanceof Broken)) throw thrown;
    broken = thrown.message;
  }
  const { records, first, head } = walk;
  return { records, files: days.length, first, head, broken };
}

async function verifyFile(path: string, walk: Walk): Promise<void> {
  const lines = createInterface({ input: createReadStream(path, 'utf8'), crlfDelay: 0 });
  let number = 0;
  for await (const line of lines) {
    number += 1;
    const where = `${path}:${number}`;
    const record = opened(line);
    if (!record) throw new Broken(`${where}: the record after ${walk.head.seq} was changed, or is no record`);
    follow(record, walk, where);
    if (walk.found.has(record.seq)) walk.found.set(record.seq, record.hash);
  }
}

function follow(record: AuditRecord, walk: Walk, where: string): void {
  const { seq, hash, prev, door, method, params } = record;
  if (walk.records === 0) {
    walk.first = seq;
    walk.begins = { seq: seq - 1, hash: prev };
  } else {
    const { seq: last, hash: lastHash } = walk.head;
    if (seq !== last + 1)
      throw new Broken(
        seq > last
          ? `${where}: record ${last + 1} is missing; ${seq} follows ${last}`
          : `${where}: record ${seq} stands after ${last}: it was moved or doubled`,
      );
    if (prev !== lastHash) throw new Broken(`${where}: record ${seq} does not follow the ${last} before it`);
  }
  walk.records += 1;
  walk.head = { seq, hash };
  if (door !== 'audit') return;
  if (method === 'tail missing') {
    const known = params['known_seq'];
    throw new Broken(
      `${where}: record ${seq} says that the records up to ${known} were missing when the server started`,
    );
  }
  if (method === 'past changed') {
    const known = params['known_seq'];
    throw new Broken(`${where}: record ${seq} says that record ${known} was another when the server started`);
  }
  if (method === 'retired')
    walk.retired.push({ seq: Number(params['through_seq']), hash: params['through_hash'] ?? '' });
}

function checkBeginning({ begins, first, retired }: Walk): void {
  if (!begins || (begins.seq === 0 && begins.hash === GENESIS)) return;
  if (retired.some(({ seq, hash }) => seq === begins.seq && hash === begins.hash)) return;
  throw new Broken(`the records before ${first} are missing, and none says that they were retired`);
}

function checkHead({ head, found }: Walk, known: Head | null, who: string): void {
  if (!known) return;
  if (known.seq > head.seq)
    throw new Broken(`${who} knows of record ${known.seq}; the log ends with ${head.seq}: its end was cut`);
  const hash = found.get(known.seq);
  if (hash && hash !== known.hash) throw new Broken(`record ${known.seq} is another than that of ${who}`);
}
