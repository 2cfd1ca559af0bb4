/**
 * The server's side of the protocol, by hand: it keeps every message and says only what a test tells it to.
 *
 * `acks: false` plays a server of the original protocol.
 */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { Server, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js';
import {
  type AgentMessage,
  CommandRequestSchema,
  type CommandResult,
  type ManagementMessage,
  ManagementMessageSchema,
  OutputAckSchema,
  type OutputChunk,
  RegistrationAckSchema,
  ResultAckSchema,
} from '../../proto/gen/agent_pb.ts';
import { agentService } from '../../proto/service.ts';

type Stream = ServerDuplexStream<AgentMessage, ManagementMessage>;
type Payload = ManagementMessage['payload'];

export interface PeerOptions {
  readonly acks?: boolean;
  /** Where to listen; a free port of the loopback when absent. */
  readonly address?: string;
  readonly env?: Readonly<Record<string, string>>;
}

const WAIT_MS = 15_000;

export async function until<T>(what: string, look: () => T | null | undefined | false): Promise<T> {
  const deadline = Date.now() + WAIT_MS;
  for (;;) {
    const found = look();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`waited ${WAIT_MS} ms in vain for ${what}`);
    await Bun.sleep(5);
  }
}

export class Peer {
  readonly dir = mkdtempSync(join(tmpdir(), 'agent-test-'));
  readonly said: AgentMessage['payload'][] = [];
  readonly connects: Record<string, string>[] = [];
  address = '';
  /** Acknowledges output and results as they come. */
  answers = true;
  stream: Stream | null = null;
  readonly #acks: boolean;
  readonly #server = new Server();
  #agent: Bun.Subprocess | null = null;

  constructor(options: PeerOptions = {}) {
    this.#acks = options.acks ?? true;
    this.#server.addService(
      agentService as never,
      { connect: (stream: Stream) => this.#connected(stream) } as never,
    );
  }

  static async start(options: PeerOptions = {}): Promise<Peer> {
    const peer = new Peer(options);
    const asked = options.address ?? '127.0.0.1:0';
    const port = await new Promise<number>((resolve, reject) =>
      peer.#server.bindAsync(asked, ServerCredentials.createInsecure(), (error, bound) =>
        error ? reject(error) : resolve(bound),
      ),
    );
    peer.address = asked.startsWith('unix:') ? asked : `127.0.0.1:${port}`;
    return peer;
  }

  /** Starts the real agent client, from source or as it was built. */
  agent(
    env: Readonly<Record<string, string>> = {},
    program: readonly string[] = [process.execPath, join(import.meta.dir, '../../agent/main.ts')],
  ): Bun.Subprocess {
    writeFileSync(join(this.dir, 'secret'), 'sesame\n', { mode: 0o600 });
    const where: Record<string, string> = this.address.startsWith('unix:')
      ? { AGENT_GRPC_UDS_PATH: this.address.slice('unix:'.length) }
      : { MANAGEMENT_SERVER: this.address };
    this.#agent = Bun.spawn([...program, '--env-file', '/dev/null'], {
      env: {
        PATH: process.env['PATH'] ?? '',
        HOME: this.dir,
        AGENT_ID: 'tester',
        AGENT_INSTANCE_ID: 'i-1',
        AGENT_SECRET_FILE: join(this.dir, 'secret'),
        AGENT_SPOOL_DIR: join(this.dir, 'spool'),
        ...where,
        ...env,
      },
      stdio: ['ignore', 'ignore', Bun.file(join(this.dir, 'log'))],
    });
    return this.#agent;
  }

  /** What the agent has logged so far. */
  log(): string {
    return readFileSync(join(this.dir, 'log'), 'utf8');
  }

  say(payload: Payload): void {
    this.stream?.write(create(ManagementMessageSchema, { payload }));
  }

  run(request: MessageInitShape<typeof CommandRequestSchema> & { commandId: string }): void {
    this.say({
      case: 'command',
      value: create(CommandRequestSchema, { sessionId: request.commandId, ...request }),
    });
  }

  acknowledge(commandId: string, offset: number, resume = false): void {
    this.say({
      case: 'outputAck',
      value: create(OutputAckSchema, { commandId, offset: BigInt(offset), resume }),
    });
  }

  all<C extends AgentMessage['payload']['case']>(what: C) {
    return this.said.filter((payload) => payload.case === what) as Extract<
      AgentMessage['payload'],
      { case: C }
    >[];
  }

  pieces(commandId: string, stream: 'stdout' | 'stderr' = 'stdout'): OutputChunk[] {
    return this.all(stream).flatMap(({ value }) => (value.streamId === commandId ? [value] : []));
  }

  output(commandId: string, stream: 'stdout' | 'stderr' = 'stdout'): string {
    return Buffer.concat(this.pieces(commandId, stream).map(({ data }) => data)).toString('utf8');
  }

  result(commandId: string): Promise<CommandResult> {
    const look = () => this.all('commandResult').find(({ value }) => value.commandId === commandId)?.value;
    return until(`the result of ${commandId}`, look);
  }

  connected(times = 1): Promise<unknown> {
    return until(
      `connection ${times}`,
      () => this.all('registration').length >= times && this.stream !== null,
    );
  }

  /** Cuts the stream as a lost network would look from here. */
  cut(): void {
    const stream = this.stream;
    this.stream = null;
    stream?.emit('error', { code: 14, details: 'cut' });
  }

  async stop(): Promise<void> {
    this.#server.forceShutdown();
    this.#agent?.kill('SIGKILL');
    await this.#agent?.exited;
    rmSync(this.dir, { recursive: true, force: true });
  }

  #connected(stream: Stream): void {
    this.stream = stream;
    this.connects.push(
      Object.fromEntries(Object.entries(stream.metadata.getMap()).map(([k, v]) => [k, String(v)])),
    );
    stream.on('error', () => {});
    stream.on('end', () => stream.end());
    stream.on('data', ({ payload }: AgentMessage) => {
      this.said.push(payload);
      if (payload.case === 'registration') {
        const config: Record<string, string> = this.#acks ? { 'agentic.acks': '1' } : {};
        const value = create(RegistrationAckSchema, { accepted: true, heartbeatIntervalSeconds: 1, config });
        this.say({ case: 'registrationAck', value });
      }
      if (!this.#acks || !this.answers) return;
      if (payload.case === 'stdout' || payload.case === 'stderr') {
        const { streamId, offset, data } = payload.value;
        this.acknowledge(streamId, Number(offset ?? 0n) + data.length);
      }
      if (payload.case === 'commandResult') {
        const { commandId } = payload.value;
        this.say({ case: 'resultAck', value: create(ResultAckSchema, { commandId }) });
      }
    });
  }
}
