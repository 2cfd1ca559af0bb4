import { describe, expect, test } from 'bun:test';
import { memoryJournal } from '../../src/journal/memory.ts';
import { entry, journalContract, record } from '../contracts/journal.ts';

journalContract('memory', async () => {
  const journal = memoryJournal();
  return { journal, reopen: async () => journal.crash('lost') };
});

describe('what a journal in memory can be told to do', () => {
  test('it is away while it is told so, and keeps nothing of what was refused', async () => {
    const journal = memoryJournal();
    journal.knobs.away = 'the cable is out';
    await expect(journal.append({ entries: [entry('a', 1)], records: [] })).rejects.toThrow(
      'the cable is out',
    );
    journal.knobs.away = null;
    expect(await journal.cursor()).toBe(0);
    expect(await journal.append({ entries: [entry('a', 1)], records: [] })).toBe(1);
  });

  test('after a crash a batch that was not acknowledged is there or not, as the test wants', async () => {
    for (const [fate, left] of [
      ['kept', 2],
      ['lost', 1],
    ] as const) {
      const journal = memoryJournal();
      await journal.append({ entries: [entry('a', 1)], records: [record('a', 1)] });
      journal.knobs.beforeAck = () => new Promise(() => {});
      const unacknowledged = journal.append({ entries: [entry('a', 2)], records: [record('a', 2)] });
      const after = journal.crash(fate);
      await expect(unacknowledged).rejects.toThrow('the server was killed');
      expect(await after.cursor()).toBe(left);
      expect((await after.record('a'))?.seq).toBe(left);
    }
  });
});
