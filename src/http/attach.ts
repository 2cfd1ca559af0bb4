/** One viewer of a terminal, in binary frames; docs/terminal.md has the format. */
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
import { problemOf } from './problem.ts';
import { noteOf } from './seen.ts';

const INPUT = 1;

export function attached(
  { sessions, audit }: SocketDoor,
  { id, session, caller, seen, role, from, terminal }: Connecting,
  socket: ServerWebSocket<SocketData>,
): Conversation {
  const view = sessions.find(session);
  const viewer: Viewer = {
    id,
    label: caller.name,
    send(frame) {
      const sent = socket.sendBinary(frame);
      return sent === 0 && socket.readyState !== WebSocket.OPEN ? -1 : socket.getBufferedAmount();
    },
    tell: (message) => void socket.send(JSON.stringify(message)),
  };
  const { cols, rows } = view ?? terminal.spec;
  viewer.tell({
    type: 'hello',
    session_id: session,
    viewer_id: id,
    role,
    cols,
    rows,
    state: view?.state ?? 'exited',
    next_offset: terminal.nextOffset(),
  });
  const attachment = terminal.attach(viewer, { role, from });
  const controls = () => {
    if (attachment.role === 'controller') return;
    throw new Failure('forbidden', 'an observer only watches; take control first');
  };
  const tellTrouble = (thrown: unknown) => {
    const { code, detail } = problemOf(thrown);
    viewer.tell({ type: 'error', code, message: detail });
  };
  let isGone = false;
  const take = async () => {
    await audit.ready();
    await audit.note(noteOf(seen, { method: 'take control', status: 200, ms: 0 }));
    if (!isGone) attachment.control('take');
  };
  const text = (message: Record<string, unknown>) => {
    switch (message['type']) {
      case 'ack':
        return attachment.acknowledge(Number(message['offset']) || 0);
      case 'screen':
        return attachment.refresh();
      case 'control':
        if (message['action'] !== 'take' && message['action'] !== 'release') {
          throw new Failure('bad-input', 'action is take or release');
        }
        demand(caller, 'operator');
        if (message['action'] === 'release') return void attachment.control('release');
        return void take().catch(tellTrouble);
      case 'resize': {
        controls();
        const size = sizeOf(message);
        return sessions.resize(session, size, caller.name);
      }
      case 'signal':
        controls();
        return void sessions.signal(session, String(message['signal']), caller.name).catch(tellTrouble);
      default:
        throw new Failure(
          'bad-input',
          `type "${message['type']}" is none of ack, screen, control, resize, signal`,
        );
    }
  };
  return {
    message(message) {
      if (typeof message === 'string') return text(parsed(message));
      if (message[0] !== INPUT) throw new Failure('bad-input', 'a binary message begins with 1, for input');
      controls();
      if (message.length > 1) sessions.input(session, message.subarray(1), caller.name);
    },
    drained: () => attachment.drained(),
    closed() {
      isGone = true;
      attachment.detach();
    },
  };
}
