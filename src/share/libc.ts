/**
 * The few calls of the C library that Node has no name for: directory entries by descriptor, in bounded
 * pieces, and project quotas. Linux only.
 */
import { dlopen, FFIType, ptr, read } from 'bun:ffi';

const { i32, u64, i64, ptr: pointer } = FFIType;
const symbols = {
  getdents64: { args: [i32, pointer, u64], returns: i64 },
  ioctl: { args: [i32, u64, pointer], returns: i32 },
  syscall: { args: [i64, i64, i64, i64, pointer], returns: i64 },
  __errno_location: { args: [], returns: pointer },
} as const;

type Pointer = ReturnType<typeof ptr>;

interface Libc {
  getdents64(fd: number, buffer: Pointer, bytes: number): bigint | number;
  ioctl(fd: number, request: number, argument: Pointer): number;
  syscall(number: number, a: number, b: number, c: number, d: Pointer): bigint | number;
  __errno_location(): Pointer;
}

let loaded: Libc | null | undefined;

function libc(): Libc | null {
  if (loaded !== undefined) return loaded;
  for (const name of ['libc.so.6', 'libc.musl-x86_64.so.1', 'libc.musl-aarch64.so.1']) {
    try {
      loaded = dlopen(name, symbols).symbols as unknown as Libc;
      return loaded;
    } catch {
      // The next name.
    }
  }
  loaded = null;
  return loaded;
}

export const hasLibc = (): boolean => libc() !== null;

export type CallResult =
  | { readonly ok: true; readonly value: number }
  | { readonly ok: false; readonly errno: number };

function result(value: bigint | number): CallResult {
  const plain = Number(value);
  if (plain >= 0) return { ok: true, value: plain };
  const where = libc()?.__errno_location();
  return { ok: false, errno: where ? read.i32(where, 0) : 0 };
}

const ENOSYS = 38;
const absent: CallResult = { ok: false, errno: ENOSYS };

/** The next entries of an open directory into `buffer`; 0 at the end. */
export function getdents(fd: number, buffer: Uint8Array): CallResult {
  const c = libc();
  return c === null ? absent : result(c.getdents64(fd, ptr(buffer), buffer.length));
}

export function ioctl(fd: number, request: number, argument: Uint8Array): CallResult {
  const c = libc();
  return c === null ? absent : result(c.ioctl(fd, request, ptr(argument)));
}

/** The same number on every architecture; since Linux 5.14. */
const QUOTACTL_FD = 443;

export function quotactl(
  fd: number,
  { command, id }: { command: number; id: number },
  block: Uint8Array,
): CallResult {
  const c = libc();
  return c === null ? absent : result(c.syscall(QUOTACTL_FD, fd, command, id, ptr(block)));
}
