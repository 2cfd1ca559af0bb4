/**
 * What the doors may ask of Agentshare: the files that people and instances give each other. No path leads
 * out of its area, and no link is followed.
 */
import type { KeptStorageView, StorageEntryView, StorageUseView } from './views.ts';

/** One directory tree. `of` of an instance is its name, or its id, also when it is not there any more. */
export type StorageArea =
  | { readonly kind: 'global' }
  | { readonly kind: 'instance'; readonly of: string; readonly leaf: 'inbox' | 'outbox' | 'workspace' }
  | { readonly kind: 'task'; readonly of: string; readonly leaf: 'inbox' | 'outbox' };

/** Below the root of an area. `raw`: percent-encoded by its bytes. */
export type StoragePath = { readonly text: string; readonly raw: boolean };

export interface StorageUpload {
  readonly body: AsyncIterable<Uint8Array>;
  /** As the caller announced it; null: it did not. */
  readonly bytes: number | null;
  readonly isNew: boolean;
  readonly makesParents: boolean;
  readonly isExecutable: boolean;
}

/** Open until it is read to the end, or closed. */
export interface StoredFile {
  readonly name: string;
  readonly contentType: string;
  readonly sizeBytes: number;
  readonly modifiedAt: number;
  /** Changes with the file. */
  readonly tag: string;
  read(range: { readonly from: number; readonly length: number }): ReadableStream<Uint8Array>;
  close(): Promise<void>;
}

/** Calls throw 'not-found' for what is not there, 'bad-input' for a path that cannot be one. */
export interface StorageDesk {
  /** In the order of the names' bytes. `after` and `next` are percent-encoded names. */
  list(
    area: StorageArea,
    path: StoragePath,
    page: { readonly after: string | null; readonly limit: number },
  ): Promise<{ entries: readonly StorageEntryView[]; next: string | null }>;
  /** Throws 'wrong-state' for what is no ordinary file, or has several names. */
  open(area: StorageArea, path: StoragePath): Promise<StoredFile>;
  /** Whole or not at all, and durable. Throws 'too-large', 'over-quota', 'already-exists', 'busy'. */
  write(area: StorageArea, path: StoragePath, upload: StorageUpload): Promise<{ sizeBytes: number }>;
  /** With what is missing above it; true when it was not there. */
  makeDir(area: StorageArea, path: StoragePath): Promise<boolean>;
  remove(area: StorageArea, path: StoragePath, isDeep: boolean): Promise<{ count: number }>;
  /** Measured now, of all that an instance has, or of `global`. */
  usage(area: StorageArea, signal: AbortSignal): Promise<StorageUseView>;
  /** What instances left that are not there any more. */
  kept(): Promise<readonly KeptStorageView[]>;
  /** For good. Throws 'wrong-state' while the instance is there. */
  removeKept(instanceId: string, by: string): Promise<void>;
}
