/**
 * A live terminal in an element: xterm.js fed by an attachment, always of the program's true size.
 *
 * Guarantees: nothing but keys and pastes of a controller is ever sent; the program is resized only by
 * `resizeToFit`; Shift+Escape always leaves the terminal, so the keyboard is never trapped.
 */
import { FitAddon } from '@xterm/addon-fit';
import { Terminal } from '@xterm/xterm';
import { type Attached, type AttachState, attach } from './attach.ts';
import { type FontBounds, fittingFontSize } from './fit.ts';
import { isAutomaticReply, silenceQueries } from './replies.ts';
import { terminalTheme } from './theme.ts';

export interface PaneOptions {
  readonly sessionId: string;
  readonly bounds: FontBounds;
  /** A tile shows the picture only: no scrollback, no selection by keyboard. */
  readonly isTile: boolean;
  /** No PTY stands behind it, so a line feed alone ends a line. */
  readonly isPiped: boolean;
  readonly label: string;
  readonly onState: (state: AttachState) => void;
  /** Shift+Escape was pressed. */
  readonly onLeave: () => void;
}

export interface Pane {
  control(action: 'take' | 'release'): void;
  signal(name: string): void;
  /** Makes the program's grid fill this element at a readable size. Only as controller. */
  resizeToFit(): void;
  refresh(): void;
  focus(): void;
  text(): string;
  close(): void;
}

const readableFontSize = 13;

export function openPane(element: HTMLElement, options: PaneOptions): Pane {
  const terminal = newTerminal(options);
  const fitAddon = new FitAddon();
  terminal.loadAddon(fitAddon);
  const silenced = silenceQueries(terminal.parser);
  terminal.open(element);
  const scale = () => scaleToBox(element, terminal, options.bounds);
  const attached = attachTerminal(terminal, options, scale);
  wireKeys(terminal, attached, options);
  const observer = new ResizeObserver(scale);
  observer.observe(element);
  return {
    control: (action) => attached.control(action),
    signal: (name) => attached.send({ type: 'signal', signal: name }),
    resizeToFit() {
      if (attached.state().role !== 'controller') return;
      terminal.options.fontSize = readableFontSize;
      const wanted = fitAddon.proposeDimensions();
      if (wanted)
        attached.send({ type: 'resize', cols: Math.max(20, wanted.cols), rows: Math.max(5, wanted.rows) });
      scale();
    },
    refresh: () => attached.send({ type: 'screen' }),
    focus: () => terminal.focus(),
    text: () => screenText(terminal),
    close() {
      observer.disconnect();
      attached.detach();
      for (const one of silenced) one.dispose();
      terminal.dispose();
    },
  };
}

function newTerminal({ isTile, isPiped, bounds }: PaneOptions): Terminal {
  return new Terminal({
    fontFamily: getComputedStyle(document.documentElement).getPropertyValue('--mono'),
    fontSize: Math.min(bounds.max, readableFontSize),
    lineHeight: 1.1,
    theme: terminalTheme,
    scrollback: isTile ? 0 : 5000,
    convertEol: isPiped,
    disableStdin: true,
    cursorBlink: false,
    cursorInactiveStyle: 'outline',
    minimumContrastRatio: 4.5,
    screenReaderMode: !isTile,
    allowProposedApi: false,
    linkHandler: { activate: (_, uri) => openLink(uri) },
  });
}

/** Only the web: a terminal's content is not ours, and `javascript:` is a link too. */
function openLink(uri: string): void {
  if (/^https?:\/\//.test(uri)) window.open(uri, '_blank', 'noopener,noreferrer');
}

function attachTerminal(terminal: Terminal, options: PaneOptions, scale: () => void): Attached {
  const resize = (cols: number, rows: number) => {
    if (cols > 0 && rows > 0 && (cols !== terminal.cols || rows !== terminal.rows))
      terminal.resize(cols, rows);
    scale();
  };
  return attach({
    url: (role, from) => attachUrl(options.sessionId, role, from),
    sink: {
      // Everything goes through the write queue: bytes that came before are still being parsed.
      screen({ cols, rows }, bytes, done) {
        terminal.write('\x1bc', () => resize(cols, rows));
        terminal.write(bytes, done);
      },
      output: (bytes, done) => terminal.write(bytes, done),
      resize: (cols, rows) => terminal.write('', () => resize(cols, rows)),
    },
    onState(state) {
      terminal.options.disableStdin = state.role !== 'controller';
      terminal.options.cursorBlink = state.role === 'controller' && !reducedMotion();
      options.onState(state);
    },
  });
}

function attachUrl(sessionId: string, role: string, from: number | null): string {
  const url = new URL(`/ws/sessions/${encodeURIComponent(sessionId)}/attach`, location.href);
  url.protocol = url.protocol.replace('http', 'ws');
  url.searchParams.set('role', role);
  if (from !== null) url.searchParams.set('from', String(from));
  return url.href;
}

function wireKeys(terminal: Terminal, attached: Attached, { label, onLeave }: PaneOptions): void {
  const encoder = new TextEncoder();
  terminal.onData((text) => {
    if (!isAutomaticReply(text)) attached.input(encoder.encode(text));
  });
  // Old mouse protocols speak bytes, one per character.
  terminal.onBinary((text) => attached.input(Uint8Array.from(text, (char) => char.charCodeAt(0))));
  terminal.attachCustomKeyEventHandler((event) => {
    if (event.key === 'Escape' && event.shiftKey) {
      if (event.type === 'keydown') onLeave();
      return false;
    }
    // An observer's keys belong to the page: its shortcuts work while a terminal has the focus.
    return attached.state().role === 'controller';
  });
  terminal.textarea?.setAttribute('aria-label', `${label}. Shift+Escape leaves the terminal.`);
}

/**
 * Twice, because a cell's height is rounded up to whole pixels and the first step may overshoot by one row's
 * worth.
 */
function scaleToBox(element: HTMLElement, terminal: Terminal, bounds: FontBounds): void {
  const grid = element.querySelector<HTMLElement>('.xterm-screen');
  if (!grid) return;
  const box = { width: element.clientWidth, height: element.clientHeight };
  for (let step = 0; step < 3; step += 1) {
    const fontSize = terminal.options.fontSize ?? readableFontSize;
    const wanted = fittingFontSize(
      box,
      { width: grid.offsetWidth, height: grid.offsetHeight, fontSize },
      bounds,
    );
    if (wanted === fontSize) return;
    terminal.options.fontSize = wanted;
  }
}

function screenText(terminal: Terminal): string {
  const buffer = terminal.buffer.active;
  const lines: string[] = [];
  for (let row = 0; row < buffer.length; row += 1)
    lines.push(buffer.getLine(row)?.translateToString(true) ?? '');
  return lines.join('\n').trimEnd();
}

function reducedMotion(): boolean {
  return matchMedia('(prefers-reduced-motion: reduce)').matches;
}
