/**
 * Carries what comes to loopback ports to the server's Unix sockets: the ways out of an instance that has no
 * network. Decides nothing; who listens there does.
 */
import { connect, createServer, type Server } from 'node:net';
import type { Log } from './log.ts';

const CONNECTIONS_MAX = 256;

/**
 * `setting`: `<port>=<path of the socket>`, more of them after commas. Throws an Error that names the part
 * that is neither, before any of them listens.
 */
export function egress(setting: string, log: Log): readonly Server[] {
  const ways = setting.split(',').map((part) => {
    const [, port, path = ''] = /^(\d{1,5})=(\/.+)$/.exec(part) ?? [];
    if (port === undefined) throw new Error(`AGENT_EGRESS: "${part}" is not <port>=<path of a socket>`);
    return { port: Number(port), path };
  });
  return ways.map(({ port, path }) => {
    const server = carrying(path);
    server.on('error', (error) => log('error', 'no way out', { port, why: error.message }));
    return server.listen(port, '127.0.0.1');
  });
}

function carrying(path: string): Server {
  let open = 0;
  return createServer({ allowHalfOpen: true }, (near) => {
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
}
