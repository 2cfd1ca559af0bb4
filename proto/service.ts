/** AgentService for @grpc/grpc-js, over the generated messages. Used by the server and by the agent. */
import { type DescMessage, fromBinary, type MessageShape, toBinary } from '@bufbuild/protobuf';
import {
  type AgentMessage,
  AgentMessageSchema,
  ExecOutputSchema,
  ExecRequestSchema,
  ManagementMessageSchema,
  type OutputChunk,
  RenewCertificateRequestSchema,
  RenewCertificateResponseSchema,
} from './gen/agent_pb.ts';
import { isOutputStream, outputBytes } from './output.ts';

const write =
  <Desc extends DescMessage>(schema: Desc) =>
  (message: MessageShape<Desc>): Buffer => {
    const bytes = toBinary(schema, message);
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  };

const read =
  <Desc extends DescMessage>(schema: Desc) =>
  (bytes: Buffer): MessageShape<Desc> =>
    fromBinary(schema, bytes);

const writeAny = write(AgentMessageSchema);

function writeAgentMessage(message: AgentMessage): Buffer {
  const { case: what, value } = message.payload;
  return (isOutputStream(what) ? outputBytes(what, value as OutputChunk) : null) ?? writeAny(message);
}

/** Where a call is found: `/agentic.sandbox.v1.AgentService/<name>`. */
const pathOf = (name: string) => `/agentic.sandbox.v1.AgentService/${name}`;

export const agentService = {
  connect: {
    path: pathOf('Connect'),
    requestStream: true,
    responseStream: true,
    requestSerialize: writeAgentMessage,
    requestDeserialize: read(AgentMessageSchema),
    responseSerialize: write(ManagementMessageSchema),
    responseDeserialize: read(ManagementMessageSchema),
  },
  exec: {
    path: pathOf('Exec'),
    requestStream: false,
    responseStream: true,
    requestSerialize: write(ExecRequestSchema),
    requestDeserialize: read(ExecRequestSchema),
    responseSerialize: write(ExecOutputSchema),
    responseDeserialize: read(ExecOutputSchema),
  },
  renewCertificate: {
    path: pathOf('RenewCertificate'),
    requestStream: false,
    responseStream: false,
    requestSerialize: write(RenewCertificateRequestSchema),
    requestDeserialize: read(RenewCertificateRequestSchema),
    responseSerialize: write(RenewCertificateResponseSchema),
    responseDeserialize: read(RenewCertificateResponseSchema),
  },
} as const;
