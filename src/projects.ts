/**
 * Projects of a file system: trees of files that it counts together and holds to one limit, whoever writes
 * to them. Implemented in share/quota.ts; ext4 and XFS have them.
 *
 * All paths are of this host. What fails throws an Error that says what the system said.
 */
export interface Projects {
  /** Null: limits can be set below `root`; else what is missing. Changes nothing. */
  missing(root: string): Promise<string | null>;
  /** What a directory is in; null: it is none, or the file system does not tell. */
  of(dir: string): Promise<Membership | null>;
  /** `root` is any directory of the file system; null when it does not tell. */
  use(root: string, project: number): Promise<ProjectUse | null>;
  /** From now on. 0: no limit. */
  limit(root: string, project: number, most: ProjectLimit): Promise<void>;
  /** The directory alone, to remember the project by. */
  mark(dir: string, project: number): Promise<void>;
  /** A directory and all in it, and what will be made in it too. 0: they are in none any more. */
  join(dir: string, project: number): Promise<void>;
  /**
   * A directory and those in it are ours alone, and where `to` says; their files stay, so that whoever holds
   * one open is held still.
   */
  release(dir: string, to: Membership): Promise<void>;
}

export interface Membership {
  /** 0: none. */
  readonly project: number;
  /** What is made in it belongs to it too. */
  readonly isInherited: boolean;
}

export interface ProjectLimit {
  readonly bytes: number;
  /** Absent: as it was. */
  readonly files?: number;
}

export interface ProjectUse {
  readonly usedBytes: number;
  readonly hardBytes: number;
  readonly files: number;
  readonly hardFiles: number;
}
