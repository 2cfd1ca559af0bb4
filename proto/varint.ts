/** Numbers as protobuf writes them: seven bits a byte, the lowest first. */

export function varintLength(value: bigint | number): number {
  let length = 1;
  for (let rest = BigInt(value) >> 7n; rest > 0n; rest >>= 7n) length += 1;
  return length;
}

/** Returns where it ends. */
export function putVarint(into: Uint8Array, value: bigint | number, at: number): number {
  let rest = BigInt(value);
  let next = at;
  for (; rest > 127n; rest >>= 7n) into[next++] = Number(rest & 127n) | 128;
  into[next++] = Number(rest);
  return next;
}
