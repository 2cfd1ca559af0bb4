/**
 * What a drawn screen does not show and what comes next may depend on: saved cursors, a wrap that is due,
 * modes.
 *
 * A serialized screen leaves it out, so a checkpoint carries it beside. It is read from the inside of
 * @xterm/headless; where that looks otherwise than expected, or holds what is not carried (another character
 * set, other tab stops, a scroll region), there is no state and no checkpoint.
 */
import type { Terminal } from '@xterm/headless';

interface Attributes {
  readonly fg: number;
  readonly bg: number;
  readonly ext: number;
}

interface OfBuffer {
  readonly x: number;
  readonly y: number;
  readonly savedX: number;
  readonly savedY: number;
  readonly saved: Attributes;
}

export interface InnerState {
  readonly normal: OfBuffer;
  readonly alternate: OfBuffer;
  readonly attributes: Attributes;
  readonly modes: Readonly<Record<string, unknown>>;
  readonly privateModes: Readonly<Record<string, unknown>>;
  readonly isCursorHidden: boolean;
  /** The last character may be repeated (REP). */
  readonly joinState: number;
}

interface Extended {
  ext: number;
  clone(): Extended;
}

interface InnerAttributes {
  fg: number;
  bg: number;
  extended: Extended;
}

interface InnerBuffer {
  x: number;
  y: number;
  savedX: number;
  savedY: number;
  savedCurAttrData: InnerAttributes;
  readonly savedCharset: unknown;
  readonly tabs: Readonly<Record<string, boolean>>;
  readonly scrollTop: number;
  readonly scrollBottom: number;
}

interface Inner {
  readonly _bufferService: { readonly buffers: { readonly normal: InnerBuffer; readonly alt: InnerBuffer } };
  readonly _charsetService: { readonly charset?: unknown; readonly glevel: number };
  readonly coreService: { isCursorHidden: boolean; readonly modes: object; readonly decPrivateModes: object };
  readonly _inputHandler: {
    readonly _curAttrData: InnerAttributes;
    readonly _parser: { precedingJoinState: number };
  };
}

const innerOf = (terminal: Terminal): Inner => (terminal as unknown as { readonly _core: Inner })._core;

const TAB = 8;

function isUsual(buffer: InnerBuffer, rows: number): boolean {
  const stops = Object.keys(buffer.tabs).filter((column) => buffer.tabs[column]);
  const isWhole = buffer.scrollTop === 0 && buffer.scrollBottom === rows - 1;
  return isWhole && buffer.savedCharset === undefined && stops.every((column) => Number(column) % TAB === 0);
}

const attributesOf = ({ fg, bg, extended }: InnerAttributes): Attributes => ({ fg, bg, ext: extended.ext });

const ofBuffer = ({ x, y, savedX, savedY, savedCurAttrData }: InnerBuffer): OfBuffer => ({
  x,
  y,
  savedX,
  savedY,
  saved: attributesOf(savedCurAttrData),
});

/** Null when there is something that cannot be carried. */
export function innerStateOf(terminal: Terminal): InnerState | null {
  try {
    const inner = innerOf(terminal);
    const { normal, alt } = inner._bufferService.buffers;
    const { charset, glevel } = inner._charsetService;
    if (charset !== undefined || glevel !== 0) return null;
    if (!isUsual(normal, terminal.rows) || !isUsual(alt, terminal.rows)) return null;
    return {
      normal: ofBuffer(normal),
      alternate: ofBuffer(alt),
      attributes: attributesOf(inner._inputHandler._curAttrData),
      modes: { ...inner.coreService.modes },
      privateModes: { ...inner.coreService.decPrivateModes },
      isCursorHidden: inner.coreService.isCursorHidden,
      joinState: inner._inputHandler._parser.precedingJoinState,
    };
  } catch {
    return null; // Another release of the terminal: every byte is parsed.
  }
}

function setAttributes(into: InnerAttributes, { fg, bg, ext }: Attributes): void {
  into.fg = fg;
  into.bg = bg;
  if (into.extended.ext === ext) return;
  // Cells that are drawn already hold on to the old one.
  into.extended = into.extended.clone();
  into.extended.ext = ext;
}

function setBuffer(into: InnerBuffer, { x, y, savedX, savedY, saved }: OfBuffer): void {
  Object.assign(into, { x, y, savedX, savedY });
  setAttributes(into.savedCurAttrData, saved);
}

/** Into a terminal of the same size that has drawn the serialized screen. */
export function carry(terminal: Terminal, state: InnerState): void {
  const inner = innerOf(terminal);
  const { normal, alt } = inner._bufferService.buffers;
  setBuffer(normal, state.normal);
  setBuffer(alt, state.alternate);
  setAttributes(inner._inputHandler._curAttrData, state.attributes);
  Object.assign(inner.coreService.modes, state.modes);
  Object.assign(inner.coreService.decPrivateModes, state.privateModes);
  inner.coreService.isCursorHidden = state.isCursorHidden;
  inner._inputHandler._parser.precedingJoinState = state.joinState;
}
