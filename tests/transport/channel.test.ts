/** The output channel, spoken by hand on a real socket. */
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { existsSync, statSync } from 'node:fs';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { CHANNEL_KEY, channelPath } from '../../proto/channel.ts';
import { DelimitedReader, delimited } from '../../proto/delimited.ts';
import {
  type AgentMessage,
  AgentMessageSchema,
  HeartbeatSchema,
  type ManagementMessage,
  ManagementMessageSchema,
  OutputChunkSchema,
  StdinAckSchema,
} from '../../proto/gen/agent_pb.ts';
import type { AgentLink } from '../../src/agent-link.ts';
import type { SessionId } from '../../src/ids.ts';
import { Caller, FEATURES } from './caller.ts';
import { type Rig, rig, until } from './house.ts';

const S1 = 's-1' as SessionId;
const GONE_MS = 300;
let on: Rig;
const opened: { close(): void }[] = [];
const keep = <T extends { close(): void }>(one: T): T => {
  opened.push(one);
  return one;
};
beforeEach(async () => {
  on = await rig();
});
afterEach(async () => {
  for (const one of opened.splice(0)) one.close();
  await on.close();
});
const path = () => channelPath(on.unix.slice('unix:'.length));

/** Registers; with the ticket it was given, if any. */
async function invited(address = on.unix, features = `${FEATURES},output-channel`) {
  const caller = keep(new Caller(address));
  caller.register({ labels: { 'agentic.features': features } });
  const { config } = await caller.hears('registrationAck');
  await caller.hears('sessionQuery');
  const link = on.house.all('connected').at(-1)?.link as AgentLink;
  return { caller, link, ticket: config[CHANNEL_KEY] ?? null };
}

class Wire {
  readonly heard: ManagementMessage['payload'][] = [];
  isWelcome = false;
  isClosed = false;
  #socket: Bun.Socket | null = null;

  static async open(said: string | Uint8Array): Promise<Wire> {
    const wire = new Wire();
    const reader = new DelimitedReader(1 << 20, (bytes) => {
      if (wire.isWelcome) wire.heard.push(fromBinary(ManagementMessageSchema, bytes).payload);
      wire.isWelcome = true;
    });
    wire.#socket = await Bun.connect({
      unix: path(),
      socket: {
        data: (_, bytes) => reader.push(bytes),
        close: () => {
          wire.isClosed = true;
        },
        error: () => {},
      },
    });
    wire.raw(said);
    return keep(wire);
  }

  raw(bytes: string | Uint8Array): void {
    this.#socket?.write(bytes);
  }

  say(payload: AgentMessage['payload']): void {
    this.raw(delimited(toBinary(AgentMessageSchema, create(AgentMessageSchema, { payload }))));
  }

  output(text: string, offset: number): void {
    const data = { streamId: S1, data: Buffer.from(text), offset: BigInt(offset) };
    this.say({ case: 'stdout', value: create(OutputChunkSchema, data) });
  }

  close(): void {
    this.#socket?.terminate();
  }
}

async function channel() {
  const { caller, link, ticket } = await invited();
  const wire = await Wire.open(`${ticket}\n`);
  await until('a welcome', () => wire.isWelcome);
  return { caller, link, wire, ticket };
}

const said = () => on.house.all('output').map(({ value }) => (value as { text: string }).text);

describe('an agent that is invited', () => {
  test('[G28] says output by the channel and hears what is recorded, and goes on by the stream with all else', async () => {
    const { caller, link, wire } = await channel();
    wire.output('one ', 0);
    wire.output('two', 4);
    await until('both pieces', () => said().length === 2);
    expect(said()).toEqual(['one ', 'two']);
    link.ackOutput(S1, 7, false);
    await until('an acknowledgement', () => wire.heard.length > 0);
    expect(wire.heard[0]).toMatchObject({ case: 'outputAck', value: { commandId: S1, offset: 7n } });
    link.ackOutput(S1, 7, true);
    expect(await caller.hears('outputAck')).toMatchObject({ offset: 7n, resume: true });
  });

  test('[G28] is the agent of its stream: the ticket alone says so', async () => {
    const { link, wire } = await channel();
    wire.output('mine', 0);
    const [told] = await until('output', () => on.house.all('output').length > 0 && on.house.all('output'));
    expect(told?.link).toBe(link);
  });

  test('[G28] loses the stream with the channel, and the channel with the stream', async () => {
    const first = await channel();
    first.wire.close();
    expect((await first.caller.ended).code).toBe(status.CANCELLED);
    const second = await channel();
    second.caller.close();
    await until('its channel to close', () => second.wire.isClosed);
    expect(on.house.all('lost')).toHaveLength(2);
  });

  test('[G28] may say nothing but output there', async () => {
    const { caller, wire } = await channel();
    wire.say({ case: 'heartbeat', value: create(HeartbeatSchema, { agentId: 'web-1' }) });
    expect((await caller.ended).code).toBe(status.INVALID_ARGUMENT);
    expect(on.house.all('heartbeat')).toEqual([]);
  });

  test.each([
    ['more than a message may hold', Uint8Array.of(0xff, 0xff, 0xff, 0x7f)],
    ['what is no message', Uint8Array.of(3, 0x1a, 0x7f, 0x01)],
  ])('[G28] is cut off for %s', async (_, bytes) => {
    const { caller, wire } = await channel();
    wire.raw(bytes);
    expect((await caller.ended).code).toBe(status.INVALID_ARGUMENT);
    await until('its channel to close', () => wire.isClosed);
  });
});

describe('what is typed', () => {
  const input = 'output-channel,channel-input';
  const typed = (wire: Wire) =>
    wire.heard.flatMap((one) => (one.case === 'stdin' ? [Buffer.from(one.value.data).toString()] : []));
  const open = async (features = `${FEATURES},${input}`) => {
    const { caller, link, ticket } = await invited(on.unix, features);
    const wire = await Wire.open(`${ticket}\n`);
    await until('a welcome', () => wire.isWelcome);
    return { caller, link, wire };
  };

  test('[G31] goes by the channel, in its order, however large, and its end after it', async () => {
    const { link, wire, caller } = await open();
    const large = 'x'.repeat(600_000);
    for (const text of ['a', large, 'b']) void link.type(S1, Buffer.from(text), { key: null });
    link.closeStdin(S1);
    await until('all of it', () => wire.heard.length === 4);
    expect(typed(wire)).toEqual(['a', large, 'b', '']);
    expect(wire.heard.at(-1)).toMatchObject({ case: 'stdin', value: { commandId: S1, eof: true } });
    // Its acknowledgement comes by the stream as before.
    const written = link.type(S1, Buffer.from('y'), { key: 'k' });
    await until('the answer', () => typed(wire).length === 5);
    caller.say({
      case: 'stdinAck',
      value: create(StdinAckSchema, { commandId: S1, key: 'k', written: true, error: '' }),
    });
    await written;
  });

  test('[G31] stays on the stream of a link on which it began there', async () => {
    const { caller, link, ticket } = await invited(on.unix, `${FEATURES},${input}`);
    void link.type(S1, Buffer.from('early'), { key: null });
    const wire = await Wire.open(`${ticket}\n`);
    await until('a welcome', () => wire.isWelcome);
    void link.type(S1, Buffer.from('late'), { key: null });
    expect((await caller.hears('stdin')).data).toEqual(Buffer.from('early'));
    await until('the late one', () =>
      caller.heard.some(
        ({ case: what, value }) => what === 'stdin' && `${Buffer.from(value.data)}` === 'late',
      ),
    );
    expect(typed(wire)).toEqual([]);
  });

  test('[G31] stays on the stream of an agent that does not say so', async () => {
    const { caller, link, wire } = await channel();
    void link.type(S1, Buffer.from('plain'), { key: null });
    expect((await caller.hears('stdin')).data).toEqual(Buffer.from('plain'));
    expect(typed(wire)).toEqual([]);
  });
});

describe('nobody else', () => {
  test('[G29] is invited: not by TCP, and not without the feature', async () => {
    expect((await invited(on.tcp)).ticket).toBeNull();
    expect((await invited(on.unix, FEATURES)).ticket).toBeNull();
  });

  test('[G29] comes in: not with a wrong ticket, a used one, or one whose stream is over', async () => {
    const wrong = await Wire.open(`${'x'.repeat(43)}\n`);
    const { caller, ticket } = await invited();
    const ended = await Wire.open(`${ticket}?`);
    await until('the wrong ones to be turned away', () => wrong.isClosed && ended.isClosed);
    const used = await Wire.open(`${ticket}\n`);
    await until('a welcome', () => used.isWelcome);
    const again = await Wire.open(`${ticket}\n`);
    await until('the second to be turned away', () => again.isClosed);
    expect(used.isClosed).toBe(false);
    caller.close();
    await until('the link to be lost', () => on.house.all('lost').length > 0);
    const other = await invited();
    other.caller.close();
    await until('the other link to be lost', () => on.house.all('lost').length > 1);
    const late = await Wire.open(`${other.ticket}\n`);
    await until('the late one to be turned away', () => late.isClosed);
    expect([wrong, ended, again, late].some(({ isWelcome }) => isWelcome)).toBe(false);
    expect(on.warnings.filter(({ message }) => message === 'output channel refused')).toHaveLength(4);
  });

  test('[G29] is waited for without end: 64 that show nothing are all there may be', async () => {
    const { ticket } = await invited();
    const silent = await Promise.all(Array.from({ length: 64 }, () => Wire.open('')));
    const one = await Wire.open(`${ticket}\n`);
    await until('it to be turned away', () => one.isClosed);
    for (const wire of silent.slice(0, 8)) wire.close();
    await Bun.sleep(GONE_MS);
    const next = await Wire.open(`${ticket}\n`);
    await until('a welcome', () => next.isWelcome);
  });

  test("[G29] finds the socket: it is its owner's alone, and gone with the server", async () => {
    expect(statSync(path()).mode & 0o777).toBe(0o600);
    await on.server.close(100);
    expect(existsSync(path())).toBe(false);
  });
});
