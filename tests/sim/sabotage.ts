/**
 * Rules of durability, broken one at a time and in test code only: a journal before the journal, a part of
 * the fleet in the place of ours, a link, a listener or a runtime that does something else. The simulation
 * must notice every one of them, and by an invariant, or it would not notice when we do. docs/simulation.md
 * shows this list; tests/sim/sabotage.test.ts holds the two together.
 */
import { openPorts } from '../../src/actors/open-ports.ts';
import { memoryJournal } from '../../src/journal/memory.ts';
import { play } from './game.ts';
import type { Breaks } from './house.ts';
import { playHouse } from './house-game.ts';
import { type BrokenJournal, brokenJournals, unordered } from './sabotage-journal.ts';
import { Apart, deaf, deafAlarms, Eager, Hasty, unfenced, yes, zombies } from './sabotage-parts.ts';

export interface Sabotage {
  /** The rule of SPEC.md that it breaks. */
  readonly breaks: string;
  readonly what: string;
  /** Rules whose invariants may be the first to notice. */
  readonly noticedBy: readonly string[];
  /** In so many schedules at most, from seed 1. */
  readonly within: number;
  readonly game: 'fleet' | 'house';
  play(seed: number): Promise<unknown>;
}

type Words = Omit<Sabotage, 'game' | 'play'>;

const house = (words: Words, breaks: Breaks): Sabotage => ({
  ...words,
  game: 'house',
  play: (seed) => playHouse(seed, { breaks }),
});

const fleet = (words: Words, broken: BrokenJournal): Sabotage => ({
  ...words,
  game: 'fleet',
  play: (seed) => play(seed, { journal: broken(memoryJournal()) }),
});

// ── The list ────────────────────────────────────────────────────────────────

const inTheFleet: readonly Sabotage[] = brokenJournals.map(({ broken, ...words }) => fleet(words, broken));

const inTheHouse: readonly Sabotage[] = [
  house(
    {
      breaks: 'J29',
      what: 'a batch is in although the one before it is not',
      noticedBy: ['S9', 'S1', 'S2', 'S3', 'N5', 'S16'],
      within: 100,
    },
    { journal: unordered },
  ),
  house(
    { breaks: 'S2', what: 'effects run before their batch is durable', noticedBy: ['S2'], within: 5 },
    { groupCommit: (given) => new Eager(given) },
  ),
  house(
    { breaks: 'S2', what: 'a promise is kept before its batch is durable', noticedBy: ['S2'], within: 5 },
    { groupCommit: (given) => new Hasty(given) },
  ),
  house(
    {
      breaks: 'S1',
      what: 'what is told to another actor is another batch',
      noticedBy: ['S1', 'S2', 'H1', 'S9'],
      within: 30,
    },
    { groupCommit: (given) => new Apart(given) },
  ),
  house(
    { breaks: 'S3', what: 'a restart forgets to open ports again', noticedBy: ['S3'], within: 20 },
    {
      openPorts(given, server) {
        const ports = openPorts(given);
        const match: typeof ports.match = (...of) => {
          if (!server.isRestoring) ports.match(...of);
        };
        return { ...ports, match };
      },
    },
  ),
  house(
    {
      breaks: 'S3',
      what: 'a deadline that passed during a restart does not ring',
      noticedBy: ['H4', 'L5', 'S16'],
      within: 60,
    },
    { kinds: deafAlarms },
  ),
  house(
    {
      breaks: 'S6',
      what: 'an outcome while the journal is away is dropped',
      noticedBy: ['S16', 'I2', 'H4', 'L5'],
      within: 40,
    },
    {
      openPorts: (given, server) =>
        openPorts({
          ...given,
          send: (actor, event) => {
            if (server.fleet.away() === null) given.send(actor, event);
          },
        }),
    },
  ),
  house(
    {
      breaks: 'S7',
      what: 'a closed port goes on and its outcome is delivered',
      noticedBy: ['S7', 'L1', 'N7'],
      within: 80,
    },
    { kinds: zombies },
  ),
  house(
    { breaks: 'J16', what: 'a batch of the server before is accepted', noticedBy: ['J16'], within: 50 },
    { journal: unfenced },
  ),
  house(
    { breaks: 'P1', what: 'an agent that is reserved is reserved again', noticedBy: ['P1'], within: 50 },
    { fleet: yes('reserve') },
  ),
  house(
    { breaks: 'L1', what: 'a task that ends keeps its agent', noticedBy: ['L1'], within: 5 },
    { fleet: deaf((_, { type }) => type === 'release') },
  ),
  house(
    { breaks: 'H3', what: 'an answer is typed without its key', noticedBy: ['H3'], within: 20 },
    { faults: { ignoresKeys: true } },
  ),
  house(
    { breaks: 'N1', what: 'a session is not told that its link is lost', noticedBy: ['N1'], within: 10 },
    { fleet: deaf((id, { type }) => type === 'link.lost' && id.startsWith('session:')) },
  ),
  house(
    {
      breaks: 'N2',
      what: 'a result is acknowledged before it is durable',
      noticedBy: ['N2', 'N5', 'S16'],
      within: 60,
    },
    {
      listener: (heard) => ({
        ...heard,
        result(link, result) {
          link.ackResult(result.session);
          return heard.result(link, result);
        },
      }),
    },
  ),
  house(
    {
      breaks: 'N3',
      what: 'after a reconnect output goes on from the wrong byte',
      noticedBy: ['N3'],
      within: 10,
    },
    {
      link(link) {
        const ack = link.ackOutput.bind(link);
        link.ackOutput = (session, offset, resume) => ack(session, offset + (resume ? 1 : 0), resume);
      },
    },
  ),
  house(
    {
      breaks: 'N4',
      what: 'a session that is reported and not known is ended',
      noticedBy: ['N4'],
      within: 20,
    },
    {
      listener: (heard, { fleet }) => ({
        ...heard,
        reported(link, sessions) {
          const kill = sessions.map(({ session }) => session).filter((id) => !fleet.view(`session:${id}`));
          const plan = { keep: [], kill, killUnrecognized: false, graceSeconds: 1 };
          if (kill.length > 0) link.reconcile(plan).catch(() => {});
          return heard.reported(link, sessions);
        },
      }),
    },
  ),
  house(
    {
      breaks: 'N5',
      what: 'a session that its agent lost is held for live',
      noticedBy: ['N5', 'S16', 'L5'],
      within: 30,
    },
    { fleet: deaf((_, { type }) => type === 'session.missing') },
  ),
  house(
    { breaks: 'N7', what: 'a launch that comes twice starts two processes', noticedBy: ['N7'], within: 30 },
    { faults: { startsAgain: true } },
  ),
  house(
    {
      breaks: 'N7',
      what: 'a launch whose link was lost is not tried again',
      noticedBy: ['N7', 'S16'],
      within: 100,
    },
    {
      link(link) {
        const launch = link.launch.bind(link);
        link.launch = (wish, signal) => launch(wish, signal).catch(() => new Promise<never>(() => {}));
      },
    },
  ),
  house(
    {
      breaks: 'I1',
      what: 'finding an instance again starts a second process',
      noticedBy: ['I1'],
      within: 10,
    },
    {
      runtime(door, all) {
        const recover = door.recover.bind(door);
        door.recover = async (handle) => {
          const runs = await recover(handle);
          if (runs) all.start(handle.name);
          return runs;
        };
        return door;
      },
    },
  ),
  house(
    { breaks: 'I2', what: 'nobody is told that an instance died', noticedBy: ['I2', 'S16'], within: 60 },
    {
      runtime(door) {
        door.watch = () => () => {};
        return door;
      },
    },
  ),
  house(
    { breaks: 'I3', what: 'the storage of what died is destroyed', noticedBy: ['I3'], within: 60 },
    {
      runtime(door, all) {
        const watch = door.watch.bind(door);
        door.watch = (handle, onExit) =>
          watch(handle, (exit) => {
            all.destroy(handle.name);
            onExit(exit);
          });
        return door;
      },
    },
  ),
];

export const sabotages: readonly Sabotage[] = [...inTheFleet, ...inTheHouse];

export interface Noticed {
  readonly seed: number;
  /** The rule whose invariant noticed; null: what was thrown is no invariant. */
  readonly by: string | null;
  readonly message: string;
}

/**
 * Plays from seed 1 on until something is noticed; null when nothing is, in as many schedules as it may take.
 */
export async function noticed({ play, within }: Sabotage): Promise<Noticed | null> {
  for (let seed = 1; seed <= within; seed++) {
    const message = await play(seed).then(
      () => null,
      (thrown: Error) => thrown.message,
    );
    if (message !== null) return { seed, by: /^\[([A-Z]+\d+)\]/.exec(message)?.[1] ?? null, message };
  }
  return null;
}
