/**
 * One viewer's place in the audience: what it has been sent, and how it catches up.
 *
 *   live ──over its budget──▶ behind ──it can take more──▶ catching up ──▶ live
 *                                  └── too far: a fresh screen first ──┘
 *
 * Never more than a budget waits for a viewer. What it asked to see again from an offset is sent whole, at
 * its own pace; a backlog that it merely did not read is not.
 */
import type { Slice, Viewer } from '../terminal.ts';
import { OutputFrame, screenFrame } from './frames.ts';
import type { Checkpoint } from './screen.ts';

export interface SeatLimits {
  /** What may wait on a viewer's connection. */
  readonly unsentBytesMax: number;
  /** What a viewer that acknowledges may have unacknowledged. */
  readonly unshownBytesMax: number;
  /** A viewer that is further behind gets a fresh screen instead of what it missed. */
  readonly backlogBytesMax: number;
}

export interface Stage {
  readonly limits: SeatLimits;
  /** Everything below has been given to live viewers. */
  live(): number;
  slice(from: number, maxBytes: number, into: Buffer): Slice;
  /** A screen that is as new as can be; null when the terminal has none. */
  screen(): Promise<Checkpoint | null>;
  skipped(): void;
}

const PIECE_BYTES = 128 << 10;

export type Closing = {
  readonly type: 'closed';
  readonly exit_code: number | null;
  readonly reason: string;
};

export class Seat {
  readonly viewer: Viewer;
  readonly #stage: Stage;
  #next: number;
  #acknowledged: number | null = null;
  /** It asked for what lies before this, so that much is no backlog. */
  #wanted: number;
  #isLive = false;
  #isBusy = false;
  #isAskedAgain = false;
  #isGone = false;
  #needsScreen: boolean;
  #isFull = false;
  #closing: Closing | null = null;

  /** `from`: null for a screen first. */
  constructor(viewer: Viewer, stage: Stage, from: number | null) {
    this.viewer = viewer;
    this.#stage = stage;
    this.#next = from ?? stage.live();
    this.#wanted = stage.live();
    this.#needsScreen = from === null;
  }

  /** The same frame for everybody who is up to date. */
  give(frame: Uint8Array, from: number, next: number): void {
    if (!this.#isLive || this.#isGone) return;
    if (this.#next !== from) {
      this.#isLive = false;
      return this.catchUp();
    }
    this.#next = next;
    if (!this.#send(frame)) this.#isLive = false;
  }

  /** Brings it up to date, as far as it can take it. */
  catchUp(): void {
    if (this.#isLive || this.#isGone) return;
    // Who is busy may have looked for the last time already.
    this.#isAskedAgain = this.#isBusy;
    if (this.#isBusy) return;
    this.#isBusy = true;
    void this.#catchUp().finally(() => {
      this.#isBusy = false;
      if (this.#isAskedAgain) this.catchUp();
    });
  }

  acknowledge(offset: number): void {
    this.#acknowledged = Math.max(this.#acknowledged ?? 0, Math.min(offset, this.#next));
    this.catchUp();
  }

  refresh(): void {
    this.#needsScreen = true;
    this.#isLive = false;
    this.catchUp();
  }

  /** Told once, after the last byte. */
  finish(message: Closing): void {
    this.#closing = message;
    if (this.#isLive) return this.#close();
    this.catchUp();
  }

  leave(): void {
    this.#isGone = true;
  }

  #close(): void {
    if (this.#closing && !this.#isGone) this.viewer.tell(this.#closing);
    this.#closing = null;
  }

  #canTake(): boolean {
    const { limits } = this.#stage;
    const shown = this.#acknowledged === null || this.#next - this.#acknowledged <= limits.unshownBytesMax;
    return shown && !this.#isFull && !this.#isGone;
  }

  /** The connection can take more. */
  drained(): void {
    this.#isFull = false;
    this.catchUp();
  }

  async #catchUp(): Promise<void> {
    const stage = this.#stage;
    while (this.#canTake()) {
      const behind = stage.live() - Math.max(this.#next, this.#wanted);
      if (this.#needsScreen || behind > stage.limits.backlogBytesMax) {
        await this.#jump(!this.#needsScreen);
        continue;
      }
      if (this.#next >= stage.live()) {
        this.#isLive = true;
        return this.#close();
      }
      if (!this.#sendRecorded()) continue;
      // One turn for everybody else between two pieces.
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** The next piece of the recording, or the gap that is there instead: then false. */
  #sendRecorded(): boolean {
    const stage = this.#stage;
    const frame = new OutputFrame();
    const slice = stage.slice(this.#next, Math.min(PIECE_BYTES, stage.live() - this.#next), frame.room);
    if (slice.gapBytes > 0) this.viewer.tell({ type: 'gap', at: this.#next, bytes: slice.gapBytes });
    const hasBytes = slice.bytes.length > 0;
    if (hasBytes) {
      this.#next = slice.next;
      this.#send(frame.filled(slice.from, slice.bytes.length));
    } else {
      // The rest could not be recorded, and whoever was not live has missed it.
      const live = stage.live();
      if (live > slice.next) this.viewer.tell({ type: 'gap', at: slice.next, bytes: live - slice.next });
      this.#next = Math.max(slice.next, live);
    }
    frame.done();
    return hasBytes;
  }

  async #jump(isSkip: boolean): Promise<void> {
    const from = this.#next;
    const screen = await this.#stage.screen();
    if (this.#isGone) return;
    this.#needsScreen = false;
    const to = screen?.offset ?? this.#stage.live();
    this.#wanted = 0;
    this.#next = to;
    if (isSkip) {
      this.#stage.skipped();
      this.viewer.tell({ type: 'skipped', from, to });
    }
    if (screen) this.#send(screenFrame(screen));
  }

  /** False when it can take no more for now. */
  #send(frame: Uint8Array): boolean {
    const waiting = this.viewer.send(frame);
    if (waiting < 0) this.#isGone = true;
    this.#isFull = waiting > this.#stage.limits.unsentBytesMax;
    return this.#canTake();
  }
}
