/**
 * Cuts bytes into lines of JSON, wherever the bytes were cut.
 *
 * A line longer than the maximum is dropped whole and counted, so that a hostile or broken program cannot
 * make us keep more than one maximum. What is no JSON object is counted and passed over.
 */
export const LINE_BYTES_MAX = 8 * 1024 * 1024;

export type JsonRecord = { readonly [key: string]: unknown };

export interface JsonLines {
  /** The records whose last byte has now come. */
  feed(bytes: Uint8Array): JsonRecord[];
  junk(): number;
}

export function jsonLines(lineBytesMax = LINE_BYTES_MAX): JsonLines {
  const decoder = new TextDecoder();
  let parts: Uint8Array[] = [];
  let held = 0;
  let skipping = false;
  let junk = 0;

  const keep = (part: Uint8Array): void => {
    if (skipping || part.length === 0) return;
    if (held + part.length > lineBytesMax) {
      parts = [];
      held = 0;
      skipping = true;
      return;
    }
    parts.push(part);
    held += part.length;
  };

  const finish = (): JsonRecord | null => {
    const line = decoder.decode(parts.length === 1 ? parts[0] : Buffer.concat(parts)).trim();
    const dropped = skipping;
    parts = [];
    held = 0;
    skipping = false;
    if (line === '' && !dropped) return null;
    const record = dropped ? null : jsonObject(line);
    if (record === null) junk++;
    return record;
  };

  return {
    junk: () => junk,
    feed(bytes) {
      const records: JsonRecord[] = [];
      let from = 0;
      for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, from)) {
        keep(bytes.subarray(from, at));
        const record = finish();
        if (record !== null) records.push(record);
        from = at + 1;
      }
      // The caller may use its buffer again, so what waits for its end is copied.
      keep(bytes.slice(from));
      return records;
    },
  };
}

function jsonObject(line: string): JsonRecord | null {
  if (!line.startsWith('{')) return null;
  try {
    return JSON.parse(line) as JsonRecord;
  } catch {
    return null; // Junk between records is expected: warnings, progress bars, half a line after a kill.
  }
}
