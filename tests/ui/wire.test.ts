/** What goes over the wire, read and written without one. */
import { describe, expect, test } from 'bun:test';
import { backoffMs } from '../../ui/wire/backoff.ts';
import { decodeFrame, decodeMessage, inputFrame } from '../../ui/wire/frames.ts';
import { problemFrom, problemOf, remedy, Trouble, unreachable } from '../../ui/wire/problem.ts';
import { type ServerEvent, sseParser } from '../../ui/wire/sse.ts';

function frame(kind: number, offset: bigint, rest: readonly number[]): ArrayBuffer {
  const buffer = new ArrayBuffer(9 + rest.length);
  new DataView(buffer).setUint8(0, kind);
  new DataView(buffer).setBigUint64(1, offset);
  new Uint8Array(buffer, 9).set(rest);
  return buffer;
}

describe('frames', () => {
  test('output carries the offset of its first byte', () => {
    expect(decodeFrame(frame(1, 5_000_000_000n, [104, 105]))).toEqual({
      kind: 'output',
      offset: 5_000_000_000,
      bytes: new Uint8Array([104, 105]),
    });
  });

  test('a screen carries its size', () => {
    expect(decodeFrame(frame(2, 7n, [0, 220, 1, 0, 65]))).toEqual({
      kind: 'screen',
      offset: 7,
      cols: 220,
      rows: 256,
      bytes: new Uint8Array([65]),
    });
  });

  test('what is short or of a later protocol is no frame', () => {
    expect(decodeFrame(new ArrayBuffer(8))).toBe(null);
    expect(decodeFrame(frame(2, 7n, [0, 80, 0]))).toBe(null);
    expect(decodeFrame(frame(9, 7n, [1, 2, 3, 4]))).toBe(null);
  });

  test('input is the bytes behind a one', () => {
    expect(inputFrame(new Uint8Array([3, 255]))).toEqual(new Uint8Array([1, 3, 255]));
  });

  test('a message is known, or it is none', () => {
    expect(decodeMessage('{"type":"resize","cols":80,"rows":24}')).toEqual({
      type: 'resize',
      cols: 80,
      rows: 24,
    });
    for (const text of ['{"type":"later"}', '{"type":7}', 'null', '[]', '{', '']) {
      expect(decodeMessage(text)).toBe(null);
    }
  });
});

describe('server-sent events', () => {
  const stream =
    ': hello\r\nid: 1\r\nevent: a\r\ndata: x\r\ndata:  y\r\n\r\n:\n\nretry: 5\n\nid\ndata: {"ü":"€"}\n\nevent: none\n\ndata\n\n';
  const wanted: ServerEvent[] = [
    { id: '1', event: 'a', data: 'x\n y' },
    { id: '', event: 'message', data: '{"ü":"€"}' },
    { id: '', event: 'message', data: '' },
  ];

  test('are the same wherever the stream is cut in two', () => {
    for (let cut = 0; cut <= stream.length; cut += 1) {
      const events: ServerEvent[] = [];
      const parse = sseParser((event) => events.push(event));
      parse(stream.slice(0, cut));
      parse(stream.slice(cut));
      expect({ cut, events }).toEqual({ cut, events: wanted });
    }
  });

  test('are told only when they are whole', () => {
    const events: ServerEvent[] = [];
    const parse = sseParser((event) => events.push(event));
    parse('id: 4\ndata: half\n');
    expect(events).toEqual([]);
    parse('\n');
    expect(events).toEqual([{ id: '4', event: 'message', data: 'half' }]);
  });
});

test('a lost connection is tried soon at first, then ever later, never later than thirteen seconds', () => {
  expect(backoffMs(0, 0)).toBe(350);
  expect(backoffMs(0, 1)).toBe(650);
  for (let failures = 0; failures < 200; failures += 1) {
    const [least, most] = [backoffMs(failures, 0), backoffMs(failures, 1)];
    expect(least).toBeGreaterThanOrEqual(350);
    expect(most).toBeLessThanOrEqual(13_000);
    expect(backoffMs(failures + 1, 0)).toBeGreaterThanOrEqual(least);
  }
});

describe('trouble', () => {
  test('keeps the words of the server and the faults that name a field', () => {
    const body = {
      title: 'Not valid',
      detail: 'the timeout is no duration',
      code: 'invalid',
      faults: [{ path: 'lifecycle.timeout', message: 'like 30m' }, { path: 7 }, null],
    };
    const problem = problemFrom(400, JSON.stringify(body));
    expect(problem).toEqual({
      ...body,
      status: 400,
      faults: [{ path: 'lifecycle.timeout', message: 'like 30m' }],
    });
    expect(remedy(problem)).toBe('Correct the marked fields.');
  });

  test('of a proxy is told as it came, without its tags', () => {
    const problem = problemFrom(502, '<html><h1>Bad  Gateway</h1></html>');
    expect(problem).toMatchObject({ code: 'http-502', detail: 'Bad Gateway', faults: [] });
    expect(remedy(problem)).not.toBe('');
  });

  test('is told apart from a server that is away and from a mistake of the page', () => {
    expect(problemOf(new Trouble(unreachable(new TypeError('failed'))))).toMatchObject({
      code: 'unreachable',
    });
    expect(problemOf(new RangeError('ours'))).toMatchObject({ code: 'dashboard', detail: 'ours' });
    expect(problemOf('text')).toMatchObject({ code: 'dashboard', detail: 'text' });
  });
});
