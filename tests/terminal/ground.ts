/**
 * A data plane on a directory of its own, with a listener that keeps what it is told, and viewers that read
 * or do not.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../src/clock.ts';
import type { SessionId } from '../../src/ids.ts';
import { silentLog } from '../../src/log.ts';
import { readQuestion } from '../../src/terminal/asking.ts';
import { type DataPlane, terminals } from '../../src/terminal/terminals.ts';
import type { AskedOnScreen, Viewer } from '../../src/terminal.ts';

export const id = (name: string) => name as SessionId;

export async function until<T>(what: string, look: () => T | null | undefined | false): Promise<T> {
  const deadline = Date.now() + 15_000;
  for (;;) {
    const found = look();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`waited in vain for ${what}`);
    await Bun.sleep(2);
  }
}

export interface Told {
  readonly replies: string[];
  readonly asking: (AskedOnScreen | null)[];
  readonly recorded: number[];
  readonly failures: string[];
}

export interface Ground {
  readonly dir: string;
  readonly told: Told;
  plane: DataPlane;
  /** As after a crash of the server: nothing is closed in order. */
  restart(): void;
  remove(): Promise<void>;
}

export function ground(limits: object = {}): Ground {
  const dir = mkdtempSync(join(tmpdir(), 'terminal-test-'));
  const told: Told = { replies: [], asking: [], recorded: [], failures: [] };
  const make = () =>
    terminals({
      dir,
      clock: systemClock,
      log: silentLog,
      read: readQuestion,
      limits,
      listener: {
        reply: (_, bytes) => void told.replies.push(Buffer.from(bytes).toString()),
        asking: (_, question) => void told.asking.push(question),
        recorded: (_, offset) => void told.recorded.push(offset),
        recordingFailed: (_, reason) => void told.failures.push(reason),
      },
    });
  const ground: Ground = {
    dir,
    told,
    plane: make(),
    restart() {
      ground.plane = make();
    },
    async remove() {
      await ground.plane.close();
      rmSync(dir, { recursive: true, force: true });
    },
  };
  return ground;
}

/** A viewer whose connection holds what it is sent until it is read. */
export class Watcher implements Viewer {
  readonly id: string;
  readonly label: string;
  readonly messages: { readonly type: string; readonly [key: string]: unknown }[] = [];
  readonly frames: Uint8Array[] = [];
  /** False: nothing it is sent is read. */
  reads = true;
  waiting = 0;
  mostWaiting = 0;

  constructor(name: string) {
    this.id = name;
    this.label = name;
  }

  send(frame: Uint8Array): number {
    this.frames.push(Uint8Array.from(frame));
    if (!this.reads) this.waiting += frame.length;
    this.mostWaiting = Math.max(this.mostWaiting, this.waiting);
    return this.waiting;
  }

  tell(message: { readonly type: string; readonly [key: string]: unknown }): void {
    this.messages.push(message);
  }

  read(): void {
    this.reads = true;
    this.waiting = 0;
  }

  /** What it was sent as output, from the last screen on if `fresh`. */
  parts(): {
    readonly kind: 'output' | 'screen';
    readonly offset: number;
    readonly bytes: Buffer;
    readonly cols: number;
    readonly rows: number;
  }[] {
    return this.frames.map((frame) => {
      const bytes = Buffer.from(frame.buffer, frame.byteOffset, frame.length);
      const offset = Number(bytes.readBigUInt64BE(1));
      if (bytes[0] === 1) return { kind: 'output', offset, bytes: bytes.subarray(9), cols: 0, rows: 0 };
      return {
        kind: 'screen',
        offset,
        bytes: bytes.subarray(13),
        cols: bytes.readUInt16BE(9),
        rows: bytes.readUInt16BE(11),
      };
    });
  }

  /** The bytes it got, which must follow each other without a hole. */
  text(): string {
    let next: number | null = null;
    const texts: Buffer[] = [];
    for (const { kind, offset, bytes } of this.parts()) {
      if (kind === 'screen') {
        next = offset;
        continue;
      }
      if (next !== null && next !== offset) throw new Error(`a hole: ${next} to ${offset}`);
      next = offset + bytes.length;
      texts.push(bytes);
    }
    return Buffer.concat(texts).toString('utf8');
  }
}
