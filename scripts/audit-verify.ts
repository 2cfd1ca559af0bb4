/**
 * `bun run audit:verify [DIR]`: looks at the whole chain of the audit log and names the first record that is
 * not what was written. Looks only, and may be run beside the server.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { verifyAudit } from '../src/audit/verify.ts';
import { readConfig } from '../src/config.ts';
import { Failure } from '../src/failure.ts';

const usage = `Usage: bun run audit:verify [DIR] [--head SEQ:HASH]

Looks at every record of the audit log in DIR, that of AGENTIC_DATA_DIR (.run/audit) when none is given, and
exits with 1 when one was changed, removed, moved or cut off, naming the first.

  --head SEQ:HASH   the newest record as it was told at some time, kept elsewhere: it must be there still
`;

interface Wish {
  readonly dir: string;
  readonly head: { readonly seq: number; readonly hash: string } | null;
}

/** Null: it could not be understood. */
function wishOf(words: readonly string[]): Wish | null {
  const rest = [...words];
  let head: Wish['head'] = null;
  const at = rest.indexOf('--head');
  if (at !== -1) {
    const [, seq = '', hash = ''] = /^(\d+):([0-9a-f]{64})$/.exec(rest[at + 1] ?? '') ?? [];
    if (seq === '') return null;
    head = { seq: Number(seq), hash };
    rest.splice(at, 2);
  }
  if (rest.length > 1 || rest[0]?.startsWith('-')) return null;
  const dir = rest[0] ?? join(readConfig(process.env, process.cwd(), import.meta.dir).dataDir, 'audit');
  return { dir, head };
}

async function main(words: readonly string[]): Promise<number> {
  if (words.includes('--help') || words.includes('-h')) {
    process.stdout.write(usage);
    return 0;
  }
  const wish = wishOf(words);
  if (!wish) {
    process.stderr.write(usage);
    return 64;
  }
  if (!existsSync(wish.dir)) throw new Failure('not-found', `there is no audit log in ${wish.dir}`);
  const { records, files, first, head, broken } = await verifyAudit(wish.dir, wish.head);
  if (broken !== null) {
    process.stdout.write(`broken: ${broken}\n`);
    return 1;
  }
  const range = records === 0 ? '' : `, ${first} to ${head.seq}`;
  process.stdout.write(
    `${records} records${range}, in ${files} files: whole\nhead ${head.seq}:${head.hash}\n`,
  );
  return 0;
}

main(process.argv.slice(2)).then(
  (code) => process.exit(code),
  (thrown: unknown) => {
    const text = thrown instanceof Failure ? thrown.message : String((thrown as Error)?.stack ?? thrown);
    process.stderr.write(`${text}\n`);
    process.exit(1);
  },
);
