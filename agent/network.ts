/**
 * The network side: registration, heartbeats, and the stream to the server, for a holder that has the
 * sessions. It keeps nothing: whatever it had in hand when it dies is said again by one side or the other.
 */
import { dieWithParent } from './libc.ts';
import { type Holder, type Link, link, type Sink } from './link.ts';
import { jsonLog } from './log.ts';
import { type Options, version } from './options.ts';
import { CREDIT_PORTION_BYTES, helloOf, type NoteDown, type NoteUp, openPipe, type Pipe } from './pipe.ts';

/** What startSide gave us. */
const PIPE_FD = 3;
/** Beyond it the server waits: the holder does not take what it says. */
const WAITING_BYTES_MAX = 1 << 20;

/** Never resolves: it ends with its process. */
export function networkSide(options: Options): void {
  if (!dieWithParent()) process.stderr.write('agent-client: nobody tells us when our holder is killed\n');
  const log = jsonLog(options.logLevel);
  let joined: Link | null = null;
  // Whoever ends the agent signals all of it; the last results still have to go out.
  for (const name of ['SIGTERM', 'SIGINT', 'SIGUSR2'] as const) process.on(name, () => {});
  process.on('SIGHUP', () => joined?.renew());
  const { holder, heard } = holderOver((events) => openPipe(PIPE_FD, events), {
    begin: () => (joined = link({ options, holder, log })),
    renew: () => joined?.renew(),
    async leave(goodbye) {
      await joined?.close(goodbye);
      process.exit(0);
    },
    gone: () => process.exit(0),
  });
  heard.hello(helloOf(version));
}

interface Orders {
  begin(): void;
  renew(): void;
  leave(goodbye: boolean): void;
  gone(): void;
}

type Open = (events: Parameters<typeof openPipe<NoteUp, NoteDown>>[1]) => Pipe<NoteDown>;

/** The holder as the link sees it. */
export function holderOver(open: Open, orders: Orders): { holder: Holder; heard: Pipe<NoteDown> } {
  let running = 0;
  let links = 0;
  let sink: Sink | null = null;
  let attached: PromiseWithResolvers<boolean> | null = null;
  /** What comes before `attached` was meant for an earlier link. */
  let isTaking = false;
  /** Handed to the stream, and not told yet. */
  let credit = 0;
  /** In the stream's hands, which are full. */
  let stuck = 0;
  const pay = (bytes: number) => {
    credit += bytes;
    if (credit < CREDIT_PORTION_BYTES) return;
    pipe.note({ note: 'credit', bytes: credit });
    credit = 0;
  };
  const take = (note: NoteUp) => {
    switch (note.note) {
      case 'attached':
        if (note.link !== links || !sink) return;
        isTaking = true;
        return attached?.resolve(note.channel);
      case 'lost':
        if (note.link === links) sink?.lost(note.reason);
        return;
      case 'running':
        running = note.count;
        return;
      case 'renew':
        return orders.renew();
      case 'ping':
        return pipe.note({ note: 'pong' });
      case 'leave':
        return orders.leave(note.goodbye);
    }
  };
  const pipe = open({
    hello: () => orders.begin(),
    message(bytes) {
      if (!isTaking || !sink) return;
      if (sink.say(bytes)) pay(bytes.length);
      else stuck += bytes.length;
    },
    note: take,
    drained: () => sink?.goOn(),
    over: () => orders.gone(),
  });
  const holder: Holder = {
    get running() {
      return running;
    },
    attach(offer, to) {
      holder.detach();
      sink = to;
      attached = Promise.withResolvers();
      links += 1;
      credit = 0;
      stuck = 0;
      pipe.note({ note: 'attach', link: links, ...offer });
      return attached.promise;
    },
    detach() {
      if (!sink) return;
      sink = null;
      isTaking = false;
      attached?.resolve(false);
      pipe.note({ note: 'detach' });
    },
    hear(bytes) {
      pipe.message(bytes);
      return pipe.waiting < WAITING_BYTES_MAX;
    },
    drained() {
      const bytes = stuck;
      stuck = 0;
      pay(bytes);
    },
  };
  return { holder, heard: pipe };
}
