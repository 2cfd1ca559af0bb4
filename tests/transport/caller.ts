/** The agent's side of the protocol, by hand: it says what a test tells it to, and keeps what it hears. */
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { Client, type ClientDuplexStream, credentials, Metadata, type StatusObject } from '@grpc/grpc-js';
import {
  type AgentMessage,
  AgentMessageSchema,
  AgentRegistrationSchema,
  CommandResultSchema,
  type ManagementMessage,
  OutputChunkSchema,
} from '../../proto/gen/agent_pb.ts';
import { agentService } from '../../proto/service.ts';
import { SECRET, until } from './house.ts';

export const FEATURES = 'offsets,started,stdin-acks,terminal-state';

export interface CallerOptions {
  readonly agent?: string;
  /** Null: none is shown. */
  readonly secret?: string | null;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly tls?: TlsShown;
}

/** A certificate to show; with none it is only looked at the server's. */
export interface TlsShown {
  readonly ca: string;
  readonly cert?: string;
  readonly key?: string;
  readonly serverName: string;
}

export function clientOf(address: string, tls: TlsShown | null = null): Client {
  const pem = (text: string | undefined) => (text === undefined ? null : Buffer.from(text));
  const channel = tls
    ? credentials.createSsl(pem(tls.ca), pem(tls.key), pem(tls.cert))
    : credentials.createInsecure();
  return new Client(address, channel, {
    ...(tls ? { 'grpc.ssl_target_name_override': tls.serverName } : {}),
    'grpc.enable_retries': 0,
    'grpc.use_local_subchannel_pool': 1,
    'grpc.max_send_message_length': -1,
  });
}

type Sent = AgentMessage | Buffer;

type Payloads = {
  [P in ManagementMessage['payload'] as NonNullable<P['case']>]: P extends { value: infer V } ? V : never;
};

export class Caller {
  readonly heard: ManagementMessage['payload'][] = [];
  /** How the server ended the stream. */
  readonly ended: Promise<StatusObject>;
  readonly agent: string;
  readonly client: Client;
  readonly stream: ClientDuplexStream<Sent, ManagementMessage>;

  constructor(address: string, options: CallerOptions = {}) {
    this.agent = options.agent ?? 'web-1';
    const secret = options.secret === undefined ? SECRET : options.secret;
    const metadata = new Metadata();
    const shown = { 'x-agent-id': this.agent, 'x-agent-instance-id': 'i-1', ...options.metadata };
    for (const [name, value] of Object.entries(shown)) if (value) metadata.set(name, value);
    if (secret !== null) metadata.set('authorization', `Bearer ${secret}`);
    this.client = clientOf(address, options.tls);
    const { path, requestSerialize, responseDeserialize } = agentService.connect;
    const write = (sent: Sent) => (Buffer.isBuffer(sent) ? sent : requestSerialize(sent));
    this.stream = this.client.makeBidiStreamRequest(path, write, responseDeserialize, metadata);
    this.stream.on('data', ({ payload }: ManagementMessage) => this.heard.push(payload));
    this.stream.on('error', () => {}); // It comes as a status too.
    this.ended = new Promise((resolve) => this.stream.on('status', resolve));
  }

  /** Bytes as they are, which need not be a message. */
  sayRaw(bytes: readonly number[]): void {
    this.stream.write(Buffer.from(bytes));
  }

  say(payload: AgentMessage['payload']): void {
    this.stream.write(create(AgentMessageSchema, { payload }));
  }

  register(more: MessageInitShape<typeof AgentRegistrationSchema> = {}): void {
    const value = create(AgentRegistrationSchema, { agentId: this.agent, instanceId: 'i-1', ...more });
    this.say({ case: 'registration', value });
  }

  output(session: string, text: string, offset?: number): void {
    const value = create(OutputChunkSchema, {
      streamId: session,
      data: Buffer.from(text),
      ...(offset === undefined ? {} : { offset: BigInt(offset) }),
    });
    this.say({ case: 'stdout', value });
  }

  result(session: string, exitCode: number): void {
    const value = create(CommandResultSchema, { commandId: session, exitCode, success: exitCode === 0 });
    this.say({ case: 'commandResult', value });
  }

  /** The next message of one kind that nobody has asked for yet. */
  async hears<C extends keyof Payloads>(what: C): Promise<Payloads[C]> {
    const payload = await until(`${what} to be heard`, () => this.heard.find((said) => said.case === what));
    this.heard.splice(this.heard.indexOf(payload), 1);
    return payload.value as Payloads[C];
  }

  close(): void {
    this.stream.cancel();
    this.client.close();
  }
}

/** Registered and greeted, with our agent's additions or as a foreign one. */
export async function greeted(address: string, kind: 'ours' | 'foreign' = 'ours', options?: CallerOptions) {
  const caller = new Caller(address, options);
  caller.register(kind === 'ours' ? { labels: { 'agentic.features': FEATURES } } : {});
  await caller.hears('registrationAck');
  await caller.hears('sessionQuery');
  return caller;
}
