/** Servers that write a journal in a process of their own, to be killed. */
import { join } from 'node:path';

/** A process of its own with the journal, and what it said line by line. */
export function writer(path: string, mode: 'write' | 'hold', shell = '') {
  const own = `exec bun ${join(import.meta.dir, 'writer.ts')} ${path} ${mode}`;
  const child = Bun.spawn(['sh', '-c', `${shell}${own}`], { stdout: 'pipe', stderr: 'inherit' });
  const lines: string[] = [];
  const reading = (async () => {
    let rest = '';
    for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
      const parts = (rest + text).split('\n');
      rest = parts.pop() ?? '';
      lines.push(...parts);
    }
  })();
  return { child, lines, reading };
}

export async function until(fact: () => boolean, what: string): Promise<void> {
  const deadline = Date.now() + 15_000;
  while (!fact()) {
    if (Date.now() > deadline) throw new Error(`waited 15 s for: ${what}`);
    await Bun.sleep(5);
  }
}

export const seqs = (lines: readonly string[]): number[] => lines.filter((l) => /^\d+$/.test(l)).map(Number);
