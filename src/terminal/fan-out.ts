/**
 * The audience of one terminal: one controller, many observers, each at its own pace.
 *
 * Output after a rest goes out at once; a flood goes out in batches, each of them one frame for everybody. A
 * viewer that does not read slows nobody, and costs no more than its budget.
 */
import type { Clock } from '../clock.ts';
import type { Attachment, AttachOptions, Members, Role, Viewer } from '../terminal.ts';
import { OutputFrame } from './frames.ts';
import { type Closing, Seat, type SeatLimits, type Stage } from './seat.ts';

/** Within it after the last frame, output waits for more of its kind. */
const BATCH_MS = 4;

export interface FanOutOptions extends Pick<Stage, 'slice' | 'screen' | 'skipped'> {
  readonly clock: Clock;
  readonly limits: SeatLimits;
  /** The next offset of the recording when the audience opens. */
  readonly next: number;
}

interface Attendee {
  readonly seat: Seat;
  role: Role;
}

export class FanOut {
  readonly #options: FanOutOptions;
  readonly #attendees = new Map<string, Attendee>();
  readonly #stage: Stage;
  #controller: string | null = null;
  #given: number;
  /** What waits for more of its kind; it begins at `#given`. */
  #frame: OutputFrame | null = null;
  #flushedAt = 0;
  #timer: unknown = null;
  #closing: Closing | null = null;

  constructor(options: FanOutOptions) {
    this.#options = options;
    this.#given = options.next;
    const { limits, slice, screen, skipped } = options;
    this.#stage = { limits, slice, screen, skipped, live: () => this.#given };
  }

  get isEmpty(): boolean {
    return this.#attendees.size === 0;
  }

  /** Bytes that have just been recorded at `from`; they are not kept. */
  output(bytes: Uint8Array, from: number): void {
    const next = from + bytes.length;
    if (this.#attendees.size === 0 && !this.#frame) {
      this.#given = next;
      return;
    }
    if (from !== this.#given + (this.#frame?.length ?? 0)) {
      // A gap: everybody reads it in the recording.
      this.#flush();
      this.#given = next;
      for (const { seat } of this.#attendees.values()) seat.give(new Uint8Array(), from, next);
      return;
    }
    for (let done = 0; done < bytes.length; ) {
      this.#frame ??= new OutputFrame();
      done += this.#frame.add(bytes.subarray(done));
      if (this.#frame.room.length === 0) this.#flush();
    }
    if (!this.#frame || this.#timer !== null) return;
    const sinceMs = this.#options.clock.now() - this.#flushedAt;
    if (sinceMs >= BATCH_MS) return this.#flush();
    this.#timer = this.#options.clock.setTimeout(() => this.#flush(), BATCH_MS - sinceMs);
  }

  resized(cols: number, rows: number): void {
    this.#flush();
    this.#tellAll({ type: 'resize', cols, rows });
  }

  /** Told to everybody once, after the last byte. */
  ended(exit_code: number | null, reason: string): void {
    if (this.#closing) return;
    this.#flush();
    this.#closing = { type: 'closed', exit_code, reason };
    for (const { seat } of this.#attendees.values()) seat.finish(this.#closing);
  }

  attach(viewer: Viewer, { role, from }: AttachOptions): Attachment {
    this.#flush();
    const wants = role === 'controller' && this.#controller === null;
    const seat = new Seat(viewer, this.#stage, from);
    const attendee: Attendee = { seat, role: wants ? 'controller' : 'observer' };
    this.#attendees.set(viewer.id, attendee);
    if (wants) this.#controller = viewer.id;
    viewer.tell({ type: 'role', role: attendee.role });
    this.#tellMembers();
    seat.catchUp();
    if (this.#closing) seat.finish(this.#closing);
    return {
      get role() {
        return attendee.role;
      },
      control: (action) => this.#control(viewer.id, action),
      acknowledge: (offset) => seat.acknowledge(offset),
      drained: () => seat.drained(),
      refresh: () => seat.refresh(),
      detach: () => this.#detach(viewer.id, attendee),
    };
  }

  members(): Members {
    const observers = [...this.#attendees.values()].filter(({ role }) => role === 'observer');
    const controller =
      this.#controller === null ? null : (this.#attendees.get(this.#controller)?.seat.viewer.label ?? null);
    return { controller, observers: observers.map(({ seat }) => seat.viewer.label) };
  }

  close(): void {
    if (this.#timer !== null) this.#options.clock.clearTimeout(this.#timer);
    for (const { seat } of this.#attendees.values()) seat.leave();
    this.#attendees.clear();
  }

  #flush(): void {
    if (this.#timer !== null) this.#options.clock.clearTimeout(this.#timer);
    this.#timer = null;
    const frame = this.#frame;
    if (!frame) return;
    this.#frame = null;
    const from = this.#given;
    const bytes = frame.filled(from, 0);
    this.#given = from + frame.length;
    this.#flushedAt = this.#options.clock.now();
    for (const { seat } of this.#attendees.values()) {
      seat.give(bytes, from, this.#given);
      // Whoever is behind and has room again is brought closer.
      seat.catchUp();
    }
    frame.done();
  }

  #control(id: string, action: 'take' | 'release'): boolean {
    const mine = this.#attendees.get(id);
    if (!mine) return false;
    const held = this.#controller === id;
    if (action === 'release' ? !held : held) return held;
    const before = this.#controller === null ? undefined : this.#attendees.get(this.#controller);
    this.#controller = action === 'take' ? id : null;
    if (before && before !== mine) this.#setRole(before, 'observer');
    this.#setRole(mine, action === 'take' ? 'controller' : 'observer');
    this.#tellMembers();
    return action === 'take';
  }

  #setRole(attendee: Attendee, role: Role): void {
    attendee.role = role;
    attendee.seat.viewer.tell({ type: 'role', role });
  }

  #detach(id: string, attendee: Attendee): void {
    attendee.seat.leave();
    if (this.#attendees.get(id) !== attendee) return;
    this.#attendees.delete(id);
    if (this.#controller === id) this.#controller = null;
    this.#tellMembers();
  }

  #tellMembers(): void {
    this.#tellAll({ type: 'members', ...this.members() });
  }

  #tellAll(message: { readonly type: string; readonly [key: string]: unknown }): void {
    for (const { seat } of this.#attendees.values()) seat.viewer.tell(message);
  }
}
