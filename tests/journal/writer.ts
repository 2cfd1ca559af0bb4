/** A server that writes until it is killed: says `open`, then each seq once it was acknowledged. */
import { systemClock } from '../../src/clock.ts';
import { Failure } from '../../src/failure.ts';
import { redisJournal } from '../../src/journal/redis.ts';
import { sqliteJournal } from '../../src/journal/sqlite.ts';
import { silentLog } from '../../src/log.ts';
import { entry, record } from '../contracts/journal.ts';

const [path = '', mode = 'write'] = process.argv.slice(2);
try {
  const clock = systemClock;
  const redis = { url: path, prefix: 'agentic', clock, log: silentLog, onLost: () => {} };
  const journal = path.endsWith('.sock') ? await redisJournal(redis) : await sqliteJournal({ path, clock });
  process.stdout.write('open\n');
  if (mode === 'hold') await new Promise(() => {});
  for (let seq = (await journal.record('a'))?.seq ?? 0; ; ) {
    seq += 1;
    try {
      await journal.append({
        entries: [entry('a', seq, { filler: 'x'.repeat(200) })],
        records: [record('a', seq), record(`ended${seq}`, 1, { live: false })],
      });
      process.stdout.write(`${seq}\n`);
    } catch (thrown) {
      if (!(thrown instanceof Failure)) throw thrown;
      process.stdout.write(`${thrown.code}: ${thrown.message}\n`);
      seq -= 1;
      await Bun.sleep(20);
    }
  }
} catch (thrown) {
  process.stdout.write(`refused ${thrown instanceof Failure ? thrown.code : 'bug'}: ${String(thrown)}\n`);
  process.exit(3);
}
