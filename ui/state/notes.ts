/**
 * Short notes to the reader about what they did: it worked, or why not and what to do.
 *
 * Good news leaves by itself; trouble stays until it is dismissed.
 */
import { problemOf, remedy } from '../wire/problem.ts';
import { type Note, notes } from './store.ts';

let nextId = 1;
const goodNewsMs = 5000;

function add(note: Omit<Note, 'id'>): number {
  const id = nextId++;
  const same = (one: Note) => one.title === note.title && one.detail === note.detail;
  notes.set([...notes.get().filter((one) => !same(one)), { ...note, id }].slice(-4));
  return id;
}

export function noteGood(title: string, detail = ''): void {
  const id = add({ tone: 'good', title, detail, remedy: '' });
  setTimeout(() => dismiss(id), goodNewsMs);
}

/** A session that has ended has its own dialog and needs no second voice. */
export function noteTrouble(title: string, thrown: unknown): void {
  const problem = problemOf(thrown);
  if (problem.status === 401) return;
  const detail = [problem.title, problem.detail].filter(Boolean).join(': ');
  add({ tone: 'bad', title, detail, remedy: remedy(problem) });
}

export function dismiss(id: number): void {
  notes.set(notes.get().filter((note) => note.id !== id));
}
