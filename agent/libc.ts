/** The few calls of libc that neither Bun nor Node has. Linux only. */
import { dlopen, FFIType, ptr } from 'bun:ffi';

const { i32, u64, pointer } = { i32: FFIType.i32, u64: FFIType.u64, pointer: FFIType.ptr };

const symbols = {
  openpty: { args: [pointer, pointer, pointer, pointer, pointer], returns: i32 },
  ioctl: { args: [i32, u64, pointer], returns: i32 },
  tcgetattr: { args: [i32, pointer], returns: i32 },
  tcgetpgrp: { args: [i32], returns: i32 },
  fcntl: { args: [i32, i32, i32], returns: i32 },
  prctl: { args: [i32, u64, u64, u64, u64], returns: i32 },
} as const;

/** glibc has openpty in libc since 2.34; before that, and in musl's case, look where it is. */
function load() {
  let last: unknown;
  for (const name of ['libc.so.6', 'libutil.so.1', 'libc.musl-x86_64.so.1', 'libc.musl-aarch64.so.1']) {
    try {
      return dlopen(name, symbols);
    } catch (thrown) {
      last = thrown;
    }
  }
  throw new Error('this system has no C library with openpty', { cause: last });
}

type Libc = ReturnType<typeof load>['symbols'];
let loaded: Libc | null = null;
/** Loaded at the first PTY, so that an agent without PTYs needs none of it. */
const libc = (): Libc => {
  loaded ??= load().symbols;
  return loaded;
};

export interface Size {
  readonly cols: number;
  readonly rows: number;
}

/** struct winsize: rows, cols, two unused. */
const winsize = ({ cols, rows }: Size) => new Uint16Array([rows, cols, 0, 0]);

const TIOCSWINSZ = 0x5414n;
const F_SETFD = 2;
const FD_CLOEXEC = 1;
const F_GETFL = 3;
const F_SETFL = 4;
const O_NONBLOCK = 0o4000;

export interface PtyPair {
  readonly master: number;
  readonly slave: number;
}

/** A new pseudo-terminal of a size. The master is not inherited by children, and neither waits nor blocks. */
export function openPty(size: Size): PtyPair {
  const fds = new Int32Array(2);
  const window = winsize(size);
  const result = libc().openpty(ptr(fds, 0), ptr(fds, 4), null, null, ptr(window));
  if (result !== 0) throw new Error('openpty failed: no pseudo-terminal is free');
  const [master, slave] = fds as unknown as [number, number];
  libc().fcntl(master, F_SETFD, FD_CLOEXEC);
  libc().fcntl(slave, F_SETFD, FD_CLOEXEC);
  libc().fcntl(master, F_SETFL, Number(libc().fcntl(master, F_GETFL, 0)) | O_NONBLOCK);
  return { master, slave };
}

/** The kernel tells the foreground processes by SIGWINCH. */
export function resizePty(master: number, size: Size): void {
  const window = winsize(size);
  libc().ioctl(master, TIOCSWINSZ, ptr(window));
}

/** The foreground process group of the terminal, or null when there is none. */
export function foregroundOf(master: number): number | null {
  const group = Number(libc().tcgetpgrp(master));
  return group > 0 ? group : null;
}

const LFLAG_AT = 3;
const ICANON = 0x2;
const ECHO = 0x8;

/** How the terminal's line discipline is set; null when it is gone. */
export function modesOf(master: number): { readonly echo: boolean; readonly canonical: boolean } | null {
  const termios = new Uint32Array(16);
  if (libc().tcgetattr(master, ptr(termios)) !== 0) return null;
  const flags = termios[LFLAG_AT] ?? 0;
  return { echo: (flags & ECHO) !== 0, canonical: (flags & ICANON) !== 0 };
}

const PR_SET_PDEATHSIG = 1;
const SIGKILL = 9n;

/** The kernel kills this process when the thread that started it ends. False: it will not. */
export const dieWithParent = (): boolean => libc().prctl(PR_SET_PDEATHSIG, SIGKILL, 0n, 0n, 0n) === 0;
