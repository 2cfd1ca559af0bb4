/**
 * A terminal for programs: its screen as text, whenever it has changed.
 *
 * A screen comes 100 ms after the last change, and at the latest 500 ms after the first. Any client may ask
 * to write by its role; who controls the binary terminal is another matter.
 */
import type { ServerWebSocket } from 'bun';
import { demand } from '../access.ts';
import { Failure } from '../failure.ts';
import type { Viewer } from '../terminal.ts';
import {
  type Connecting,
  type Conversation,
  parsed,
  type SocketData,
  type SocketDoor,
  sizeOf,
} from './conversation.ts';
import { screenBody } from './screen-body.ts';

const REST_MS = 100;
const LATEST_MS = 500;
/** Beyond it on the connection, screens wait; only the newest counts. */
const UNSENT_BYTES_MAX = 256 << 10;

export function orchestrated(
  { sessions, question, clock, log }: SocketDoor,
  { id, session, caller, role, terminal }: Connecting,
  socket: ServerWebSocket<SocketData>,
): Conversation {
  let timer: unknown = null;
  let changedAt: number | null = null;
  let isClosed = false;
  /** The client does not read; a screen is due once it does. */
  let isHeld = false;
  let askedFor = '';
  const say = (message: object) => void (isClosed || socket.send(JSON.stringify(message)));

  const show = async () => {
    timer = null;
    if (isClosed) return;
    isHeld = socket.getBufferedAmount() > UNSENT_BYTES_MAX;
    if (isHeld) return;
    changedAt = null;
    const screen = await terminal.screen();
    const hitl = sessions.find(session)?.hitl_id ?? null;
    const open = hitl === null ? null : question(hitl);
    const body = screenBody(session, screen, { at: null, gaps: { count: 0, bytes: 0 }, question: open });
    if (open && open.hitl_id !== askedFor) {
      askedFor = open.hitl_id;
      const { prompt: prompt_text, confidence, hitl_id, options } = open;
      say({ type: 'prompt_detected', session_id: session, prompt_text, confidence, hitl_id, options });
    }
    say({
      type: 'screen_update',
      session_id: session,
      timestamp: clock.now(),
      screen: {
        rows: body.rows,
        cols: body.cols,
        text: body.text,
        cursor_row: body.cursor.row,
        cursor_col: body.cursor.col,
        scrollback_tail: body.scrollback_tail,
      },
      prompt_detected: body.prompt_detected,
      ...(body.prompt_text === null ? {} : { prompt_text: body.prompt_text }),
    });
  };
  const missed = (thrown: unknown) => log.error('screen not shown', { session, why: String(thrown) });
  const stir = () => {
    const now = clock.now();
    changedAt ??= now;
    if (timer !== null) clock.clearTimeout(timer);
    const waitMs = Math.max(0, Math.min(REST_MS, changedAt + LATEST_MS - now));
    timer = clock.setTimeout(() => {
      void show().catch(missed);
    }, waitMs);
  };

  // A question is read off a screen that has come to rest, so no byte tells of it.
  let watch: unknown = null;
  const look = () => {
    const hitl = sessions.find(session)?.hitl_id ?? '';
    if (hitl !== '' && hitl !== askedFor && timer === null) stir();
    watch = clock.setTimeout(look, LATEST_MS);
  };

  // Bytes are not for this client: they only say that the screen has changed.
  const viewer: Viewer = {
    id,
    label: caller.name,
    send() {
      stir();
      return 0;
    },
    tell({ type, exit_code, reason }) {
      if (type === 'resize') stir();
      if (type !== 'closed') return;
      const shown = show().catch(missed);
      void shown.then(() => say({ type: 'session_end', session_id: session, exit_code, reason }));
    },
  };
  say({ type: 'session_start', session_id: session, role, can_write: role === 'controller' });
  const attachment = terminal.attach(viewer, { role: 'observer', from: terminal.nextOffset() });
  stir();
  look();
  return {
    message(message) {
      if (typeof message !== 'string')
        throw new Failure('bad-input', 'invalid orchestrator input: it is JSON text');
      const said = parsed(message);
      if (role !== 'controller') {
        throw new Failure(
          'forbidden',
          'orchestrator role observer cannot write; reconnect with ?role=controller',
        );
      }
      demand(caller, 'operator');
      switch (said['type']) {
        case 'write':
          if (typeof said['text'] !== 'string') throw new Failure('bad-input', 'write takes text');
          return sessions.input(session, Buffer.from(said['text'], 'utf8'), caller.name);
        case 'resize': {
          const { cols, rows } = sizeOf(said);
          return sessions.resize(session, { cols, rows }, caller.name);
        }
        case 'signal':
          return void sessions
            .signal(session, String(said['signal']), caller.name)
            .catch((thrown: unknown) => {
              say({
                type: 'error',
                message: thrown instanceof Failure ? thrown.message : 'the signal could not be sent',
              });
            });
        default:
          throw new Failure('bad-input', 'invalid orchestrator input: type is write, signal or resize');
      }
    },
    drained() {
      if (isHeld) stir();
    },
    closed() {
      isClosed = true;
      if (timer !== null) clock.clearTimeout(timer);
      clock.clearTimeout(watch);
      attachment.detach();
    },
  };
}
