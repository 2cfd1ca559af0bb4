/** `Exec`: one command on one agent, for operators only. Leaving early ends the process. */
import { create } from '@bufbuild/protobuf';
import type { ServerWritableStream } from '@grpc/grpc-js';
import {
  type ExecOutput,
  ExecOutput_Stream,
  ExecOutputSchema,
  type ExecRequest,
} from '../../proto/gen/agent_pb.ts';
import { type Access, type Caller, demand } from '../access.ts';
import type { Audit, AuditNote } from '../audit.ts';
import type { Clock } from '../clock.ts';
import type { ExecDesk } from '../desk.ts';
import { Failure, type FailureCode, failures } from '../failure.ts';
import type { Log } from '../log.ts';
import { statusOf } from './connect.ts';
import { bearerOf, type Origin } from './identity.ts';

/** Of the original protocol: what `timeout_seconds` 0 means. */
const TIMEOUT_SECONDS = 300;

export interface ExecDoor {
  readonly exec: ExecDesk;
  readonly access: Access;
  readonly audit: Audit;
  readonly clock: Clock;
  readonly log: Log;
}

/** How long a token that was revoked, or has expired, may go on with what it runs. */
const RECHECK_MS = 1_000;

export type ExecCall = ServerWritableStream<ExecRequest, ExecOutput>;

export function serveExec(door: ExecDoor, call: ExecCall, origin: Origin): void {
  const { exec, access, audit, log } = door;
  const note = noter(door, call, origin);
  let caller: Caller | null = null;
  let hasBegun = false;
  let stopLooking = () => {};
  let hasLeft = false;
  const stop = new AbortController();
  call.on('cancelled', () => {
    hasLeft = true;
    stop.abort(new Failure('cancelled', 'the caller left'));
  });
  const enter = (): Caller => {
    const peerUid = origin.kind === 'unix' ? origin.peer.uid : null;
    caller = access.caller({ token: bearerOf(call.metadata), peerUid });
    return demand(caller, 'operator');
  };
  const say = (output: Parameters<typeof create<typeof ExecOutputSchema>>[1]) =>
    call.write(create(ExecOutputSchema, output)) ? null : drained(call, stop.signal);
  const run = async () => {
    // Nobody there is an operator, whatever else they show.
    if (origin.kind === 'certificate')
      throw new Failure(
        'forbidden',
        `${origin.certificate.spiffeId} is an agent; only operators run commands`,
      );
    const { name: by } = enter();
    const { agentId: agent, command, args, workingDir, env, timeoutSeconds } = call.request;
    if (agent === '' || command === '') throw new Failure('bad-input', 'agent_id and command must be given');
    if (timeoutSeconds < 0) throw new Failure('bad-input', 'timeout_seconds must not be negative');
    await audit.ready();
    await audit.note(note('Exec', caller, null));
    hasBegun = true;
    const wanted = {
      agent,
      command,
      args,
      workingDir,
      env,
      timeoutSeconds: timeoutSeconds || TIMEOUT_SECONDS,
      stdin: null,
    };
    stopLooking = whileLetIn(door.clock, enter, stop);
    for await (const part of exec.run(wanted, by, stop.signal)) {
      if ('ended' in part) {
        const { exit_code: exitCode, reason } = part.ended;
        await say({ exitCode: exitCode ?? -1, complete: true, error: reason ?? '' });
      } else {
        const stream = part.stream === 'stderr' ? ExecOutput_Stream.STDERR : ExecOutput_Stream.STDOUT;
        await say({ stream, data: part.bytes });
      }
    }
    stop.signal.throwIfAborted();
    await audit.note(note('Exec ended', caller, null));
    call.end();
  };
  const failed = (failure: unknown) => {
    const thrown = stop.signal.aborted ? stop.signal.reason : failure;
    const code = thrown instanceof Failure ? thrown.code : 'bug';
    audit.refused(note(hasBegun ? 'Exec ended' : 'Exec', caller, code));
    if (hasLeft) return;
    if (!(thrown instanceof Failure)) log.error('exec ended by a bug', { why: String(thrown) });
    call.emit('error', statusOf(thrown));
  };
  run()
    .catch(failed)
    .finally(() => stopLooking());
}

/** Aborts once the caller would not be let in any more. Returns how to stop looking. */
function whileLetIn(clock: Clock, enter: () => unknown, stop: AbortController): () => void {
  let timer: unknown;
  const look = () => {
    try {
      enter();
      timer = clock.setTimeout(look, RECHECK_MS);
    } catch (thrown) {
      stop.abort(thrown);
    }
  };
  timer = clock.setTimeout(look, RECHECK_MS);
  return () => clock.clearTimeout(timer);
}

/** What the audit log is told of one call; how long it took counts from now. */
function noter({ clock }: ExecDoor, call: ExecCall, origin: Origin) {
  const began = clock.now();
  return (method: string, caller: Caller | null, code: FailureCode | 'bug' | null): AuditNote => ({
    door: 'grpc',
    caller: caller && { name: caller.name, role: caller.role, via: caller.via, id: caller.id },
    from: origin.kind === 'unix' ? null : call.getPeer().replace(/:\d+$/, ''),
    proxied: false,
    method,
    route: call.getPath(),
    params: { agent: call.request.agentId },
    outcome:
      code === null ? 'done' : code === 'unauthenticated' || code === 'forbidden' ? 'refused' : 'failed',
    status: code === null ? 0 : code === 'bug' ? 13 : failures[code].grpc,
    code,
    ms: Math.round(clock.now() - began),
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
