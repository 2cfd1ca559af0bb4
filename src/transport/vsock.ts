/**
 * Whether this host has AF_VSOCK (vsock(7)), by which a VM reaches it without a network. Only a probe: Bun
 * has no listener for it, and docs/identity.md says what one would take.
 */
import { dlopen, FFIType, ptr } from 'bun:ffi';
import { closeSync, openSync } from 'node:fs';
import type { VsockProbe } from '../desk.ts';

const AF_VSOCK = 40;
const SOCK_STREAM = 1;
const GET_LOCAL_CID = 0x7b9;
const device = '/dev/vsock';
/** VMADDR_CID_ANY: the kernel knows of no address of its own. */
const CID_ANY = 0xffff_ffff;

const cSymbols = {
  socket: { args: [FFIType.i32, FFIType.i32, FFIType.i32], returns: FFIType.i32 },
  ioctl: { args: [FFIType.i32, FFIType.u64, FFIType.ptr], returns: FFIType.i32 },
  close: { args: [FFIType.i32], returns: FFIType.i32 },
} as const;

function libc() {
  for (const name of ['libc.so.6', 'libc.musl-x86_64.so.1', 'libc.musl-aarch64.so.1']) {
    try {
      return dlopen(name, cSymbols).symbols;
    } catch {
      // The next name.
    }
  }
  return null;
}

/** Our address, and null where nobody says. */
function localCid(c: NonNullable<ReturnType<typeof libc>>): number | null {
  let fd: number;
  try {
    fd = openSync(device, 'r');
  } catch {
    return null;
  }
  try {
    const cid = new Uint32Array(1);
    if (c.ioctl(fd, GET_LOCAL_CID, ptr(cid)) !== 0) return null;
    return cid[0] === undefined || cid[0] === CID_ANY ? null : cid[0];
  } finally {
    closeSync(fd);
  }
}

export function vsockProbe(): VsockProbe {
  const missing = 'agents cannot connect by it: Bun has no listener for it (docs/identity.md)';
  const c = libc();
  if (!c) return { available: false, cid: null, reasons: ['there is no C library to ask'] };
  const fd = c.socket(AF_VSOCK, SOCK_STREAM, 0);
  if (fd < 0) return { available: false, cid: null, reasons: ['the kernel has no AF_VSOCK'] };
  c.close(fd);
  const cid = localCid(c);
  const reasons = cid === null ? [`${device} does not tell our address; load vhost_vsock`] : [];
  return { available: true, cid, reasons: [...reasons, missing] };
}
