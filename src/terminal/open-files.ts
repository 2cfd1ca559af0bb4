/**
 * Which files of recordings are open: at most so many, however many terminals there are.
 *
 * The file that was used longest ago is closed for the next one; whoever needs it again opens it again. A
 * file that was just used is never the one that is closed.
 */

/** Far below what a process may open (1,024 on many systems), far above the terminals that talk at once. */
const OPEN_MAX = 256;

interface Closable {
  close(): void;
}

/** In the order in which they were used. */
const open = new Set<Closable>();

/** It is open, and is used now. */
export function used(file: Closable): void {
  open.delete(file);
  open.add(file);
  if (open.size <= OPEN_MAX) return;
  const [oldest] = open;
  oldest?.close();
}

/** It is not open any more. */
export function closed(file: Closable): void {
  open.delete(file);
}
