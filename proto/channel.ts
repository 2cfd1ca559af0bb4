/**
 * The output channel: a second Unix socket beside that of the gRPC door, for output, its acknowledgements and
 * typed input alone, without gRPC's cost.
 *
 * An agent that has the feature is invited by a ticket in RegistrationAck.config. It connects, says the
 * ticket as one line, and is answered with an empty message. From then on it says AgentMessages that hold
 * output, and hears ManagementMessages that hold an OutputAck or, with the second feature, a StdinChunk, both
 * in protobuf's delimited form. The channel
 * lives as long as the stream it was given on, and that one as long as the channel. An agent that cannot
 * open it sends output on the stream.
 */
export const CHANNEL_FEATURE = 'output-channel';
/** Typed input may come by the channel too. It comes all by the channel or all by the stream of one link. */
export const CHANNEL_INPUT_FEATURE = 'channel-input';
/** Of RegistrationAck.config: the ticket. */
export const CHANNEL_KEY = 'agentic.output';

export const channelPath = (socketPath: string): string => `${socketPath}.out`;

/** 256 bits in base64url. */
export const TICKET_CHARACTERS = 43;
