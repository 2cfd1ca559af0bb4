/**
 * What a hostile program inside an instance tries, with what every image with Node has. It is put into the
 * instance by its inbox, and says in one line what came of it.
 *
 *     node probe.mjs tcp HOST PORT | unix PATH | udp HOST PORT | lookup NAME
 *     node probe.mjs http HOST PORT LINE [HEADER…]           a request as it stands, without a body
 *     node probe.mjs call SOCKET METHOD JSON                 gRPC; {proof, metadata, messages (base64), keep}
 *     node probe.mjs crowd SOCKET METHOD COUNT               streams that say nothing
 */
import { Buffer } from 'node:buffer';
import dgram from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import http2 from 'node:http2';
import net from 'node:net';
import process from 'node:process';
import tls from 'node:tls';

const PATIENCE_MS = 8_000;
const [what, ...words] = process.argv.slice(2);

function say(line) {
  process.stdout.write(`${line}\n`, () => process.exit(0));
}
setTimeout(() => say('silence'), PATIENCE_MS);

function dial(where, send = '') {
  const socket = net.connect(where);
  let got = '';
  socket.on('error', ({ code }) => say(`refused ${code}`));
  socket.on('connect', () => socket.write(send));
  socket.on('data', (bytes) => {
    got += bytes.toString('latin1');
    if (send === '') say(`connected ${got.trim()}`);
  });
  socket.on('close', () => say(`connected ${got.trim()}`));
  if (send === '') socket.on('connect', () => setTimeout(() => say(`connected ${got}`), 500));
}

function datagram(host, port) {
  const socket = dgram.createSocket(host.includes(':') ? 'udp6' : 'udp4');
  socket.on('error', ({ code }) => say(`refused ${code}`));
  socket.on('message', (bytes) => say(`answered ${bytes}`));
  socket.send('ask', Number(port), host, (error) => error && say(`refused ${error.code}`));
}

const framed = (message) => {
  const bytes = Buffer.from(message, 'base64');
  const head = Buffer.alloc(5);
  head.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
};

const own = (name) => readFileSync(`/opt/agentic/identity/${name}.pem`);

/** `proof`: a certificate and its key, `own`, `none`, or `plain` for no TLS at all. */
function client(path, proof) {
  const shown = proof === 'own' ? { cert: own('cert'), key: own('key') } : proof;
  const options = {
    path,
    ALPNProtocols: ['h2'],
    rejectUnauthorized: false,
    ...(proof === 'none' ? {} : shown),
  };
  const createConnection = () => (proof === 'plain' ? net.connect(path) : tls.connect(options));
  const session = http2.connect('http://server', { createConnection });
  session.on('error', ({ code }) => say(`refused ${code}`));
  session.on('close', () => say('refused'));
  return session;
}

const head = (method, metadata = {}) => ({
  ':method': 'POST',
  ':path': `/agentic.sandbox.v1.AgentService/${method}`,
  'content-type': 'application/grpc',
  te: 'trailers',
  ...metadata,
});

const outcome = (headers) => {
  if (headers['grpc-status'] === undefined) return;
  say(`status ${headers['grpc-status']} ${decodeURIComponent(headers['grpc-message'] ?? '')}`);
};

function call(path, method, json) {
  const { proof = 'own', metadata, messages, keep = false } = JSON.parse(json);
  const stream = client(path, proof).request(head(method, metadata));
  let bytes = 0;
  stream.on('response', outcome);
  stream.on('trailers', outcome);
  stream.on('error', ({ code }) => say(`refused ${code}`));
  stream.on('data', (part) => {
    // A welcome is the first thing that is said; what follows it was sent with it.
    if (bytes === 0) setTimeout(() => say(`welcomed, ${bytes} bytes`), keep ? 1_500 : 300);
    bytes += part.length;
  });
  for (const message of messages) stream.write(framed(message));
  if (!keep) stream.end();
}

function crowd(path, method, count) {
  let refused = 0;
  let last = '';
  const told = (headers) => {
    if (headers['grpc-status'] === undefined) return;
    refused += 1;
    last = decodeURIComponent(headers['grpc-message'] ?? '');
  };
  const session = client(path, 'own');
  for (let i = 0; i < Number(count); i++) {
    const stream = session.request(head(method));
    stream.on('response', told);
    stream.on('trailers', told);
    stream.on('error', () => {});
  }
  // By then all of them have been looked at.
  const most = Number(count) / 3;
  setInterval(() => {
    if (refused >= most) writeFileSync('/mnt/outbox/crowded', '');
    if (existsSync('/mnt/outbox/enough')) say(`${refused} of ${count} refused: ${last}`);
  }, 50);
}

switch (what) {
  case 'tcp':
    dial({ host: words[0], port: Number(words[1]) });
    break;
  case 'unix':
    dial({ path: words[0].replace('@', '\0') });
    break;
  case 'udp':
    datagram(...words);
    break;
  case 'lookup':
    lookup(words[0]).then(
      ({ address }) => say(`found ${address}`),
      ({ code }) => say(`refused ${code}`),
    );
    break;
  case 'http': {
    const [host, port, ...lines] = words;
    dial({ host, port: Number(port) }, `${[...lines, 'connection: close'].join('\r\n')}\r\n\r\n`);
    break;
  }
  case 'call':
    call(...words);
    break;
  case 'crowd':
    crowd(...words);
    break;
  default:
    say(`no probe ${what}`);
}
