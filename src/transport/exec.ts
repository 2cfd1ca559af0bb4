/** `Exec`: one command on one agent, for operators only. Leaving early ends the process. */
import { create } from '@bufbuild/protobuf';
import type { ServerWritableStream } from '@grpc/grpc-js';
import {
  type ExecOutput,
  ExecOutput_Stream,
  ExecOutputSchema,
  type ExecRequest,
} from '../../proto/gen/agent_pb.ts';
import { type Access, demand } from '../access.ts';
import type { ExecDesk } from '../desk.ts';
import { Failure } from '../failure.ts';
import type { Log } from '../log.ts';
import { statusOf } from './connect.ts';
import { bearerOf, type Origin } from './identity.ts';

/** Of the original protocol: what `timeout_seconds` 0 means. */
const TIMEOUT_SECONDS = 300;

export interface ExecDoor {
  readonly exec: ExecDesk;
  readonly access: Access;
  readonly log: Log;
}

export type ExecCall = ServerWritableStream<ExecRequest, ExecOutput>;

export function serveExec({ exec, access, log }: ExecDoor, call: ExecCall, origin: Origin): void {
  const stop = new AbortController();
  call.on('cancelled', () => stop.abort(new Failure('cancelled', 'the caller left')));
  const say = (output: Parameters<typeof create<typeof ExecOutputSchema>>[1]) =>
    call.write(create(ExecOutputSchema, output)) ? null : drained(call, stop.signal);
  const run = async () => {
    // Nobody there is an operator, whatever else they show.
    if (origin.kind === 'certificate')
      throw new Failure(
        'forbidden',
        `${origin.certificate.spiffeId} is an agent; only operators run commands`,
      );
    const peerUid = origin.kind === 'unix' ? origin.peer.uid : null;
    const caller = demand(access.caller({ token: bearerOf(call.metadata), peerUid }), 'operator');
    const { agentId: agent, command, args, workingDir, env, timeoutSeconds } = call.request;
    if (agent === '' || command === '') throw new Failure('bad-input', 'agent_id and command must be given');
    if (timeoutSeconds < 0) throw new Failure('bad-input', 'timeout_seconds must not be negative');
    const wanted = {
      agent,
      command,
      args,
      workingDir,
      env,
      timeoutSeconds: timeoutSeconds || TIMEOUT_SECONDS,
      stdin: null,
    };
    for await (const part of exec.run(wanted, caller.name, stop.signal)) {
      if ('ended' in part) {
        const { exit_code: exitCode, reason } = part.ended;
        await say({ exitCode: exitCode ?? -1, complete: true, error: reason ?? '' });
      } else {
        const stream = part.stream === 'stderr' ? ExecOutput_Stream.STDERR : ExecOutput_Stream.STDOUT;
        await say({ stream, data: part.bytes });
      }
    }
    call.end();
  };
  run().catch((thrown) => {
    if (stop.signal.aborted) return;
    if (!(thrown instanceof Failure)) log.error('exec ended by a bug', { why: String(thrown) });
    call.emit('error', statusOf(thrown));
  });
}

function drained(call: ExecCall, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const give = () => reject(signal.reason);
    if (signal.aborted) return give();
    signal.addEventListener('abort', give, { once: true });
    call.once('drain', () => {
      signal.removeEventListener('abort', give);
      resolve();
    });
  });
}
