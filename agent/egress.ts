/**
 * Carries what comes to a loopback port to the server's proxy on a Unix socket: the way out of an instance
 * that has no network. Decides nothing; the proxy does.
 */
import { connect, createServer, type Server } from 'node:net';
import type { Log } from './log.ts';

const CONNECTIONS_MAX = 256;

/** `setting`: `<port>=<path of the socket>`. Throws an Error that names it when it is neither. */
export function egress(setting: string, log: Log): Server {
  const [, port, path = ''] = /^(\d{1,5})=(\/.+)$/.exec(setting) ?? [];
  if (port === undefined) throw new Error(`AGENT_EGRESS: "${setting}" is not <port>=<path of a socket>`);
  let open = 0;
  const server = createServer({ allowHalfOpen: true }, (near) => {
    near.on('error', () => near.destroy());
    if (open >= CONNECTIONS_MAX) return void near.destroy();
    open += 1;
    const far = connect({ path, allowHalfOpen: true });
    far.on('error', () => near.destroy());
    near.on('close', () => {
      open -= 1;
      far.destroy();
    });
    far.on('close', () => near.destroy());
    near.pipe(far);
    far.pipe(near);
  });
  server.on('error', (error) => log('error', 'no way out', { why: error.message }));
  server.listen(Number(port), '127.0.0.1');
  return server;
}
