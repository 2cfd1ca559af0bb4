/**
 * The attach protocol, as bytes: what the server sends to a viewer and what a viewer may send.
 *
 * Server, binary: `1 | u64 offset | bytes` is output; `2 | u64 offset | u16 cols | u16 rows | bytes` is a
 * whole screen. Client, binary: `1 | bytes` is input. Everything else is JSON text. Knows no socket and no
 * terminal.
 */
export type Role = 'controller' | 'observer';

export type Frame =
  | { readonly kind: 'output'; readonly offset: number; readonly bytes: Uint8Array }
  | {
      readonly kind: 'screen';
      readonly offset: number;
      readonly cols: number;
      readonly rows: number;
      readonly bytes: Uint8Array;
    };

/** Null for a frame of a later protocol: a viewer ignores what it does not know. */
export function decodeFrame(buffer: ArrayBuffer): Frame | null {
  const view = new DataView(buffer);
  if (view.byteLength < 9) return null;
  const offset = Number(view.getBigUint64(1));
  switch (view.getUint8(0)) {
    case 1:
      return { kind: 'output', offset, bytes: new Uint8Array(buffer, 9) };
    case 2:
      if (view.byteLength < 13) return null;
      return {
        kind: 'screen',
        offset,
        cols: view.getUint16(9),
        rows: view.getUint16(11),
        bytes: new Uint8Array(buffer, 13),
      };
    default:
      return null;
  }
}

/** Bytes the person typed or pasted, ready to send. */
export function inputFrame(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const frame = new Uint8Array(bytes.length + 1);
  frame[0] = 1;
  frame.set(bytes, 1);
  return frame;
}

export type ServerMessage =
  | {
      readonly type: 'hello';
      readonly session_id: string;
      readonly viewer_id: string;
      readonly role: Role;
      readonly cols: number;
      readonly rows: number;
      readonly state: string;
      readonly next_offset: number;
    }
  | { readonly type: 'role'; readonly role: Role }
  | { readonly type: 'members'; readonly controller: string | null; readonly observers: readonly string[] }
  | { readonly type: 'resize'; readonly cols: number; readonly rows: number }
  | { readonly type: 'skipped'; readonly from: number; readonly to: number }
  | { readonly type: 'gap'; readonly at: number; readonly bytes: number }
  | { readonly type: 'closed'; readonly exit_code: number | null; readonly reason: string | null }
  | { readonly type: 'error'; readonly code: string; readonly message: string };

const known = new Set(['hello', 'role', 'members', 'resize', 'skipped', 'gap', 'closed', 'error']);

/** Null when it is not JSON or of an unknown type. */
export function decodeMessage(text: string): ServerMessage | null {
  try {
    const message: unknown = JSON.parse(text);
    if (typeof message !== 'object' || message === null || !('type' in message)) return null;
    return typeof message.type === 'string' && known.has(message.type) ? (message as ServerMessage) : null;
  } catch {
    return null;
  }
}

export type ClientMessage =
  | { readonly type: 'resize'; readonly cols: number; readonly rows: number }
  | { readonly type: 'signal'; readonly signal: string }
  | { readonly type: 'control'; readonly action: 'take' | 'release' }
  | { readonly type: 'screen' }
  | { readonly type: 'ack'; readonly offset: number };
