/** Who is at the other end of a Unix socket, by the kernel's word (SO_PEERCRED, unix(7)). Linux only. */
import { dlopen, FFIType, ptr } from 'bun:ffi';
import type { Socket } from 'node:net';

export interface Peer {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
const UCRED_BYTES = 12;

type Getsockopt = (
  fd: number,
  level: number,
  name: number,
  value: ReturnType<typeof ptr>,
  length: ReturnType<typeof ptr>,
) => number;
let loaded: Getsockopt | null = null;

function getsockopt(): Getsockopt {
  if (loaded) return loaded;
  const { i32, ptr: pointer } = FFIType;
  const symbols = { getsockopt: { args: [i32, i32, i32, pointer, pointer], returns: i32 } } as const;
  for (const name of ['libc.so.6', 'libc.musl-x86_64.so.1', 'libc.musl-aarch64.so.1']) {
    try {
      loaded = dlopen(name, symbols).symbols.getsockopt as Getsockopt;
      return loaded;
    } catch {
      // The next name.
    }
  }
  throw new Error('this system has no C library to ask for peer credentials');
}

/** Null when the kernel does not tell; then nobody is there. */
export function peerOf(socket: Socket): Peer | null {
  const { fd } = (socket as Socket & { readonly _handle?: { readonly fd?: number } })._handle ?? {};
  if (fd === undefined || fd < 0) return null;
  const credentials = new Int32Array(UCRED_BYTES / 4);
  const length = new Uint32Array([UCRED_BYTES]);
  if (getsockopt()(fd, SOL_SOCKET, SO_PEERCRED, ptr(credentials), ptr(length)) !== 0) return null;
  const [pid = -1, uid = -1, gid = -1] = credentials;
  return pid > 0 ? { pid, uid, gid } : null;
}
