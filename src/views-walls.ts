/** What confines an instance, as the outside sees it (src/views.ts). */
import type { NetworkMode, Unenforced } from './runtime.ts';

export interface WallsView {
  image: { name: string; digest: string };
  /** Null: not enforced. */
  limits: {
    cpus: number | null;
    memory_bytes: number | null;
    processes: number | null;
    disk_bytes: number | null;
  };
  network: { mode: NetworkMode; allow: string[] };
  unenforced: Unenforced[];
}
