/**
 * Every door of a running server, taken from its own tables, against every kind of caller, over real sockets.
 * What is right stands in `access-matrix.ts`.
 */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { create } from '@bufbuild/protobuf';
import { Metadata, status } from '@grpc/grpc-js';
import { type ExecOutput, ExecRequestSchema } from '../../proto/gen/agent_pb.ts';
import { agentService } from '../../proto/service.ts';
import { type Role, roles } from '../../src/access.ts';
import { front } from '../../src/http/doors.ts';
import { enrolRoutes } from '../../src/http/enrol.ts';
import { socketPaths } from '../../src/http/sockets.ts';
import { clientOf } from '../transport/caller.ts';
import { type Rig, rig } from '../transport/house.ts';
import { enrolMatrix, httpMatrix, type Least, rpcMatrix, socketMatrix } from './access-matrix.ts';
import { type House, house, raw, tokens } from './world.ts';

interface Caller {
  readonly who: string;
  /** Null: nobody who is let in. */
  readonly role: Role | null;
  readonly token?: string;
  readonly cookie?: string;
}

let on: House;
let grpc: Rig;
let callers: readonly Caller[];
let doors: readonly string[];

beforeAll(async () => {
  // All callers together ask more than one may.
  on = await house({ options: { limits: { rate: { perSecond: 1e6, burst: 1e6 } } } });
  on.desks.sessions.add('x');
  const made = await tokens(on.access);
  const late = await on.access.create({ name: 'late', role: 'admin', expiresInMs: 1_000 });
  const gone = await on.access.create({ name: 'gone', role: 'admin', expiresInMs: null });
  const signIn = async (token: string) => {
    const { secret } = await on.access.signIn(token);
    return `agentic-${on.doors.httpPort}=${secret}`;
  };
  const cookies = await Promise.all(roles.map((role) => signIn(made[role])));
  const dead = await signIn(gone.token);
  await on.access.revoke(gone.view.id);
  on.clock.skip(2_000);
  callers = [
    { who: 'nobody', role: null },
    { who: 'forged', role: null, token: `asb_${'A'.repeat(43)}` },
    // Good at the doors of agents, and there only: see tests/identity/matrix.test.ts.
    { who: 'one-time token', role: null, token: `asbt_${'A'.repeat(43)}` },
    { who: 'expired', role: null, token: late.token },
    { who: 'revoked', role: null, token: gone.token },
    { who: 'cookie, forged', role: null, cookie: `agentic-${on.doors.httpPort}=${'A'.repeat(43)}` },
    { who: 'cookie, of a revoked token', role: null, cookie: dead },
    ...roles.map((role) => ({ who: role, role, token: made[role] })),
    ...roles.map((role, i) => ({ who: `cookie, ${role}`, role, cookie: cookies[i] ?? '' })),
  ];
  const { routes } = front(on, { closing: new AbortController().signal, httpPort: () => 0 });
  // Signing out comes last: it ends the session that asks.
  doors = routes.map(({ method, path }) => `${method} ${path}`).sort((a, b) => a.localeCompare(b));
  doors = [...doors.filter((one) => !one.includes('sign-out')), 'POST /sign-out'];
  grpc = await rig({ access: on.access });
});
afterAll(async () => {
  await grpc.close();
  await on.remove();
});

const refusal = ({ role }: Caller, least: Least): 401 | 403 | null => {
  if (least === 'open') return null;
  if (role === null) return 401;
  return roles.indexOf(role) >= roles.indexOf(least as Role) ? null : 403;
};

const pathOf = (pattern: string) => pattern.replace(/:\w+/g, 'x').replace('*', 'x');

function headersOf({ token, cookie }: Caller): Record<string, string> {
  return {
    ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    ...(cookie === undefined ? {} : { cookie, origin: on.url }),
  };
}

describe('the matrix', () => {
  test('[W6] has a line for every route, WebSocket and RPC of the server, and for nothing else', () => {
    const missing = (kind: string, there: readonly string[], table: object) => [
      ...there.filter((one) => !(one in table)).map((one) => `${kind}: add '${one}' to access-matrix.ts`),
      ...Object.keys(table)
        .filter((one) => !there.includes(one))
        .map((one) => `${kind}: take '${one}' out of access-matrix.ts; there is none`),
    ];
    const wanted = [
      ...missing('HTTP', doors, httpMatrix),
      ...missing(
        'WebSocket',
        socketPaths.flatMap((path) => [path, `${path}?role=controller`]),
        socketMatrix,
      ),
      ...missing('RPC', Object.keys(agentService), rpcMatrix),
      ...missing('enrolment', enrolRoutes, enrolMatrix),
    ];
    expect(wanted).toEqual([]);
  });

  test('[W6] is what every route does, by token and by cookie', async () => {
    const wrong: string[] = [];
    for (const caller of callers) {
      for (const door of doors) {
        const [method = '', pattern = ''] = door.split(' ');
        const wanted = refusal(caller, httpMatrix[door] ?? 'admin');
        const before = on.calls.length;
        const given = headersOf(caller);
        const response = await fetch(`${on.url}${pathOf(pattern)}`, {
          method,
          redirect: 'manual',
          headers: { 'content-type': 'application/json', origin: on.url, ...given },
          // Nobody who is let in gets further than to what is wrong with it.
          ...(method === 'GET' ? {} : { body: '{"nonsense":' }),
        });
        await response.body?.cancel();
        const is = [401, 403].includes(response.status) ? response.status : null;
        if (is !== wanted)
          wrong.push(`${caller.who} at ${door}: ${response.status}, and not ${wanted ?? 'let in'}`);
        if (wanted !== null && on.calls.length !== before)
          wrong.push(`${caller.who} at ${door}: something was done`);
      }
    }
    expect(wrong).toEqual([]);
  }, 60_000);

  test('[W6, W21] is what every WebSocket does', async () => {
    const { secret } = await on.access.signIn(callers.find(({ who }) => who === 'operator')?.token ?? '');
    const fresh = `agentic-${on.doors.httpPort}=${secret}`;
    const all: Caller[] = [
      ...callers.filter(({ role, cookie }) => role === null || cookie === undefined),
      { who: 'cookie, operator', role: 'operator', cookie: fresh },
    ];
    const wrong: string[] = [];
    const both = [on.doors.wsPort, on.doors.httpPort];
    const places = both.flatMap((port) =>
      Object.entries(socketMatrix).map(([place, least]) => [place, least, port] as const),
    );
    for (const caller of all) {
      for (const [place, least, port] of places) {
        const lines = Object.entries({ host: `127.0.0.1:${port}`, ...headersOf(caller) });
        const answer = await raw(
          port,
          `GET ${pathOf(place)} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}` +
            'Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n' +
            'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
        );
        const got = Number(answer.split(' ')[1]);
        const wanted = refusal(caller, least) ?? 101;
        if (got !== wanted) wrong.push(`${caller.who} at ${port}${place}: ${got}, and not ${wanted}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  test('[W6, G19] is what every RPC for operators does', async () => {
    const { path, requestSerialize, responseDeserialize } = agentService.exec;
    const code = async (token: string | undefined): Promise<number> => {
      const client = clientOf(grpc.tcp);
      const metadata = new Metadata();
      if (token !== undefined) metadata.set('authorization', `Bearer ${token}`);
      const asked = create(ExecRequestSchema, { agentId: 'x', command: 'true' });
      const call = client.makeServerStreamRequest(
        path,
        requestSerialize,
        responseDeserialize,
        asked,
        metadata,
      );
      call.on('data', (_: ExecOutput) => {});
      call.on('error', () => {}); // It comes as a status too.
      const ended = await new Promise<{ code: number }>((resolve) => call.on('status', resolve));
      client.close();
      return ended.code;
    };
    const byStatus = { 401: status.UNAUTHENTICATED, 403: status.PERMISSION_DENIED } as const;
    for (const caller of callers.filter(({ cookie }) => cookie === undefined)) {
      const wanted = refusal(caller, rpcMatrix['exec'] ?? 'admin');
      const got = await code(caller.token);
      expect([caller.who, got]).toEqual([caller.who, wanted === null ? status.OK : byStatus[wanted]]);
    }
  });
});
