/** By what two screens are known to be the same. */
import { createHash } from 'node:crypto';
import type { Terminal } from '@xterm/headless';

/** Of every line, shown or not, with its colours; `serialized` is what the addon makes of it. */
export function fingerprintOf(terminal: Terminal, serialized: string): string {
  const hash = createHash('sha1').update(serialized);
  for (const buffer of [terminal.buffer.normal, terminal.buffer.alternate]) {
    hash.update(`${buffer.baseY} ${buffer.length} ${buffer.cursorX} ${buffer.cursorY}\n`);
    for (let y = 0; y < buffer.length; y++) {
      const line = buffer.getLine(y);
      hash.update(`${line?.isWrapped ? '+' : ''}${line?.translateToString(true) ?? ''}\n`);
    }
  }
  return hash.digest('hex');
}
